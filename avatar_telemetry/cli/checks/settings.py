"""The settings: what stops the start, and what is allowed and yet hardly meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from avatar_telemetry.cli.checks.finding import Finding, error, good, note, warning
from avatar_telemetry.cli.environment import is_demo, load_chosen_profile
from avatar_telemetry.config.destinations import check_exporters
from avatar_telemetry.config.doubts import doubts
from avatar_telemetry.config.otlp import PREFIX as OTLP_PREFIX
from avatar_telemetry.config.resource import resource_attributes
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.startup import faults_of

ENABLED, OLD_ENABLED = "OTEL_EXPORT_ENABLED", "OTEL_ENABLED"
IGNORED = "Correct or unset it: the server starts without it."
DEMO_SERVED = " (demo, where the wsgi.py of the repository serves the demo)"
NO_NAMES = ("localhost", "localhost.localdomain", "unknown")
MUCH_MEMORY = 64 << 20


def check_settings(environ: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """Read the settings as the server does.

    Returns:
        The settings, ``None`` where they cannot be used; and the findings.
    """
    settings, faults = Settings.read(environ)
    faults += faults_of(lambda: load_chosen_profile(settings), lambda: check_exporters(settings))
    suspect = [
        *(warning("settings.ignored", each, IGNORED) for each in settings.warnings),
        *(warning(*doubt) for doubt in doubts(environ)),
    ]
    if faults:
        advice = "Correct it: the server does not start with it (avatar-telemetry settings NAME)."
        return None, [*(error("settings.fault", each, advice) for each in faults), *suspect]
    profile = load_chosen_profile(settings)
    findings = [
        *suspect, *_enabled(settings, environ),
        *_identity(settings), *_safe(settings), *_sampling(settings), *_memory(settings),
    ]  # fmt: skip
    read = good(
        "settings.read",
        f"all can be used; profile {profile.name}{DEMO_SERVED if is_demo(settings) else ''},"
        f" {settings.privacy} privacy",
    )
    return settings, [read, *findings]


def _enabled(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    if settings.sdk_disabled:
        yield warning(
            "settings.disabled", "OTEL_SDK_DISABLED=true: no metrics, no spans, no /metrics",
            "Unset it to have any telemetry.",
        )  # fmt: skip
        return
    told = {name: environ[name] for name in (ENABLED, OLD_ENABLED) if environ.get(name)}
    if len({value.strip().lower() for value in told.values()}) > 1:
        yield warning(
            "settings.enabled_twice",
            " and ".join(f"{name}={value}" for name, value in told.items()) + f": {ENABLED} wins",
            f"Set {ENABLED} alone.",
        )
    if settings.export_enabled:
        signals = ("traces", settings.traces_exporters), ("metrics", settings.metrics_exporters)
        off = [name for name, exporters in signals if exporters == ("none",)]
        yield good("settings.enabled", "the export is on")
        if off:
            yield note(
                "settings.signal_off",
                f"OTEL_{off[0].upper()}_EXPORTER=none: no {' and '.join(off)} are sent",
            )
        return
    meant = [name for name in environ if name.startswith(OTLP_PREFIX) and environ[name]]
    if meant:
        yield warning(
            "settings.not_enabled",
            f"{meant[0]} is set, but the export is off: no spans, nothing is pushed",
            f"Set {ENABLED}=true, or unset {meant[0]}.",
        )
    else:
        yield note(
            "settings.not_enabled",
            "the export is off: no spans, nothing is pushed; /metrics works",
            f"Set {ENABLED}=true and {OTLP_PREFIX}ENDPOINT to have traces.",
        )


def _identity(settings: Settings) -> Iterator[Finding]:
    instance = resource_attributes(settings)["service.instance.id"]
    if instance not in NO_NAMES:
        return
    message = f"service.instance.id is {instance}, which many hosts are called"
    advice = "Set HOSTNAME, or the name of the host: two hosts would be one instance."
    if settings.export_enabled:
        yield warning("settings.hostname", message, advice)
    else:
        yield note("settings.hostname", message, advice)


def _safe(settings: Settings) -> Iterator[Finding]:
    if settings.environment == "production" and settings.privacy == "off":
        yield warning(
            "settings.privacy", "AVATAR_TELEMETRY_PRIVACY=off in production",
            "Digests, addresses and names leave as they came; balanced hashes and cuts them.",
        )  # fmt: skip
    wide = [str(each) for each in settings.metrics_allow.networks if each.prefixlen == 0]
    if wide:
        yield warning(
            "settings.metrics_open",
            f"AVATAR_TELEMETRY_METRICS_ALLOW={wide[0]}: anybody reads /metrics",
            "Name the networks of your Prometheus, or use AVATAR_TELEMETRY_METRICS_TOKEN.",
        )  # fmt: skip
    if not settings.export_enabled:
        return
    for endpoint in sorted({otlp.endpoint for otlp in settings.otlp.values() if otlp.headers}):
        parts = urlsplit(endpoint)
        if parts.scheme == "http" and not _is_local(parts.hostname or ""):
            yield warning(
                "settings.headers_in_clear", f"OTLP headers go to {parts.netloc} without TLS",
                "Use https://: whoever is between reads them.",
            )  # fmt: skip
            return


def _sampling(settings: Settings) -> Iterator[Finding]:
    if not settings.export_enabled or settings.traces_exporters == ("none",):
        return
    if settings.sampler in ("always_off", "parentbased_always_off"):
        yield warning(
            "settings.sampler_off", f"OTEL_TRACES_SAMPLER={settings.sampler}: no trace begins here",
            "Set parentbased_traceidratio and a share, or unset it to record all.",
        )  # fmt: skip
    elif settings.sampler.endswith("traceidratio") and settings.sampler_argument:
        share = float(settings.sampler_argument)
        if share == 0:
            yield warning(
                "settings.sampler_off", "OTEL_TRACES_SAMPLER_ARG=0: no trace begins here",
                "Give a share above 0.",
            )  # fmt: skip
    if ".*" in settings.excluded_urls or "." in settings.excluded_urls:
        yield warning(
            "settings.excluded", "OTEL_PYTHON_WSGI_EXCLUDED_URLS leaves every URL out",
            "Name the URLs that shall have no spans.",
        )  # fmt: skip


def _memory(settings: Settings) -> Iterator[Finding]:
    if not settings.export_enabled:
        return
    if (settings.batch_size or 0) > settings.queue_size:
        yield warning(
            "settings.batch", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE is above OTEL_BSP_MAX_QUEUE_SIZE",
            "The spans of one worker never fill a batch; raise the queue or lower the batch.",
        )  # fmt: skip
    if settings.ring_size > MUCH_MEMORY:
        yield warning(
            "settings.memory",
            f"AVATAR_TELEMETRY_RING_SIZE={settings.ring_size}: {settings.ring_size >> 20} MiB of"
            " shared memory for each worker and signal",
            "Lower it, or record fewer traces (OTEL_TRACES_SAMPLER=parentbased_traceidratio).",
        )


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
