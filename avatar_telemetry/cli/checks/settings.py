"""The settings: faults that stop the start, and values that are allowed but seldom intended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from urllib.parse import urlsplit

from avatar_telemetry.cli.checks.finding import Finding, error, good, select, warning
from avatar_telemetry.cli.environment import is_demo, load_chosen_profile
from avatar_telemetry.config.destinations import check_exporters
from avatar_telemetry.config.keeping import KeepRules
from avatar_telemetry.config.otlp import PREFIX as OTLP_PREFIX
from avatar_telemetry.config.resource import resource_attributes
from avatar_telemetry.config.settings import SETTINGS, Settings
from avatar_telemetry.config.typos import typos
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.runtime.startup import faults_of

ENABLED, OLD_ENABLED = "OTEL_EXPORT_ENABLED", "OTEL_ENABLED"
DEMO_SERVED = " (demo, where the wsgi.py of the repository serves the demo)"
COMMON_NAMES = ("localhost", "localhost.localdomain", "unknown")
MAX_RING = 64 << 20


def check_settings(environ: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """Read the settings as the server does.

    Returns:
        The settings, or ``None`` where they cannot be used, and the findings.
    """
    settings, faults = Settings.read(environ)
    faults += faults_of(lambda: load_chosen_profile(settings), lambda: check_exporters(settings))
    ignored = "Correct or unset it: the server starts without it."
    suspect = [
        *(warning("settings.ignored", each, ignored) for each in settings.warnings),
        *(warning(*typo) for typo in typos(environ)),
    ]
    if faults:
        advice = "Correct it: the server does not start with it (avatar-telemetry settings NAME)."
        return None, [*(error("settings.fault", each, advice) for each in faults), *suspect]
    read = good(
        "settings.read", f"all are valid; profile {load_chosen_profile(settings).name}"
        f"{DEMO_SERVED if is_demo(settings) else ''}, {settings.privacy} privacy",
    )  # fmt: skip
    kept = check_keep_rules(settings, load_chosen_profile(settings))
    return settings, [read, *suspect, *_enabled(settings, environ), *_unlikely(settings), *kept]


def check_keep_rules(settings: Settings, profile: Profile) -> Iterator[Finding]:
    """Check the rules of ``AVATAR_TELEMETRY_KEEP`` that no request can match.

    Args:
        settings: the settings.
        profile: the profile of the application.
    """
    if settings.keep is None:
        return
    variable = SETTINGS["keep"].variable
    if not settings.export_enabled or settings.traces_exporters == ("none",):
        unused = f"{variable} is set, but no spans are exported"
        yield warning("settings.keep_unused", unused, f"Set {ENABLED}=true, or unset {variable}.")
    for rule, advice in unmatched_rules(settings.keep, profile):
        message = f"{variable}: no request matches {rule}"
        yield warning("settings.keep_unmatched", message, advice)


def _enabled(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    on, off = settings.export_enabled, settings.sdk_disabled
    given = {name: environ[name] for name in (ENABLED, OLD_ENABLED) if environ.get(name)}
    values = " and ".join(f"{name}={value}" for name, value in given.items())
    endpoint = next(
        (name for name in environ if name.startswith(OTLP_PREFIX) and environ[name]), ""
    )
    disabled = "the export is disabled: no spans, no pushed metrics"
    yield from select(
        (off, "warning", "settings.disabled",
         "OTEL_SDK_DISABLED=true: no metrics, no spans, no /metrics",
         "Unset it to enable the telemetry."),
        (not off and len({value.strip().lower() for value in given.values()}) > 1, "warning",
         "settings.enabled_twice", f"{values}: {ENABLED} takes precedence",
         f"Set {ENABLED} alone."),
        (on and not off, "good", "settings.enabled", "the export is enabled", ""),
        (endpoint and not on and not off, "warning", "settings.not_enabled",
         f"{endpoint} is set, but {disabled}", f"Set {ENABLED}=true, or unset {endpoint}."),
        (not endpoint and not on and not off, "note", "settings.not_enabled",
         f"{disabled}; /metrics works",
         f"Set {ENABLED}=true and {OTLP_PREFIX}ENDPOINT to export traces."),
        *((on and not off and exporters == ("none",), "note", "settings.signal_off",
           f"OTEL_{name.upper()}_EXPORTER=none: no {name} are sent", "")
          for name, exporters in (("traces", settings.traces_exporters),
                                  ("metrics", settings.metrics_exporters))),
    )  # fmt: skip


def _unlikely(settings: Settings) -> Iterator[Finding]:
    """Check the values that are allowed but seldom intended."""
    on, instance = settings.export_enabled, resource_attributes(settings)["service.instance.id"]
    open_to = ", ".join(str(each) for each in settings.metrics_allow.networks if not each.prefixlen)
    in_clear = ", ".join(sorted({
        urlsplit(otlp.endpoint).netloc for otlp in settings.otlp.values()
        if otlp.headers and otlp.endpoint.startswith("http:") and not _is_local(otlp.endpoint)
    }))  # fmt: skip
    traces = on and settings.traces_exporters != ("none",)
    never = settings.sampler in ("always_off", "parentbased_always_off")
    argument = settings.sampler_argument if settings.sampler.endswith("traceidratio") else ""
    sampler = "_ARG=0" if argument else f"={settings.sampler}"
    yield from select(
        (instance in COMMON_NAMES, "warning" if on else "note", "settings.hostname",
         f"service.instance.id is {instance}, a name of many hosts",
         "Set HOSTNAME, or the name of the host: it must differ between hosts."),
        (settings.environment == "production" and settings.privacy == "off", "warning",
         "settings.privacy", "AVATAR_TELEMETRY_PRIVACY=off in production",
         "Digests, addresses and names are exported unchanged; balanced hashes and cuts them."),
        (open_to, "warning", "settings.metrics_open",
         f"AVATAR_TELEMETRY_METRICS_ALLOW={open_to}: every client can read /metrics",
         "Name the networks of your Prometheus, or use AVATAR_TELEMETRY_METRICS_TOKEN."),
        (on and in_clear, "warning", "settings.headers_in_clear",
         f"OTLP headers go to {in_clear} without TLS", "Use https:// to encrypt them."),
        (traces and (never or (argument and float(argument) == 0)), "warning",
         "settings.sampler_off", f"OTEL_TRACES_SAMPLER{sampler}: no trace begins here",
         "Set parentbased_traceidratio and a ratio above 0, or unset it to record all."),
        (traces and {".*", "."} & set(settings.excluded_urls), "warning", "settings.excluded",
         "OTEL_PYTHON_WSGI_EXCLUDED_URLS excludes every URL",
         "Name the URLs that should have no spans."),
        (on and (settings.batch_size or 0) > settings.queue_size, "warning", "settings.batch",
         "OTEL_BSP_MAX_EXPORT_BATCH_SIZE is above OTEL_BSP_MAX_QUEUE_SIZE",
         "The spans of one worker never fill a batch; raise the queue or lower the batch."),
        (on and settings.ring_size > MAX_RING, "warning", "settings.memory",
         f"AVATAR_TELEMETRY_RING_SIZE={settings.ring_size}: {settings.ring_size >> 20} MiB of"
         " shared memory for each worker and signal",
         "Lower it, or record fewer traces (OTEL_TRACES_SAMPLER=parentbased_traceidratio)."),
    )  # fmt: skip


def unmatched_rules(rules: KeepRules, profile: Profile) -> Iterator[tuple[str, str]]:
    """Yield each rule that no request can match, and the fix."""
    templates = {route.template for route in (*profile.routes, profile.other)}
    for template, _ in rules.slow_routes if not profile.application_routes else ():
        if template not in templates:
            near = get_close_matches(template, templates, n=1)
            fix = f"Did you mean {near[0]}?" if near else "Name a route of the profile"
            yield f"slow:{template}", f"{fix} (avatar-telemetry routes)."
    if rules.auth_failures and not any(route.kind == "auth" for route in profile.routes):
        yield "auth_failures", "Remove the rule: the profile has no route of kind auth."


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
