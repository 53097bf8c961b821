"""The metrics page of a running server: missing data, and the cause."""

from __future__ import annotations

from collections.abc import Iterator

from avatar_telemetry._base.version import VERSION
from avatar_telemetry.cli.checks.finding import Finding, error, good, note, select, warning
from avatar_telemetry.cli.samples import BUILD_INFO, Samples, fetch
from avatar_telemetry.cli.web import Response, WebError
from avatar_telemetry.config.destinations import pushes_metrics
from avatar_telemetry.config.resource import resource_attributes, target_labels
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.port import CHALLENGE
from avatar_telemetry.profiles.model import Profile

MAX_MEMORY = 512 << 20
LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - requested, not bound
"""The address for requests to a server that listens on all addresses."""
MIN_REQUESTS = 20
"""The number of requests from which on missing data is reported."""
REQUESTS, SPANS = "ivatar_requests_total", "avatar_telemetry_spans_total"
PUSHES = "avatar_telemetry_metric_pushes_total"
UP = "avatar_telemetry_exporter_up"


def check_page(
    settings: Settings, profile: Profile, url: str, token: str, timeout: float
) -> Iterator[Finding]:
    """Read the page of a server and compare it with the settings and the profile, with a timeout in
    seconds for each step; the URL is that of the server or of its page."""
    path = settings.metrics_path or "/metrics"
    try:
        url, response, samples = fetch(url, token, path=path, timeout=timeout)
    except WebError as fault:
        yield error(
            "metrics_page.no_response", str(fault), "Start the server, or correct --url or --token."
        )
        return
    if samples is None:
        yield _not_shown(url, response, settings, token)
        return
    yield good("metrics_page.read", f"{url}: {samples.total(REQUESTS):.0f} requests counted")
    yield from _same_server(samples, settings)
    yield from _workers(samples)
    yield from _requests(samples, profile)
    yield from _exports(samples, settings)
    yield from _failures(samples)


def check_port(settings: Settings, token: str, timeout: float) -> Iterator[Finding]:
    """Check the separate metrics port, where one is set, within a number of seconds."""
    if settings.prometheus_endpoint is None:
        return
    host, port = settings.prometheus_endpoint
    url = f"http://{LOOPBACK.get(host) or (f'[{host}]' if ':' in host else host)}:{port}"
    try:
        _, response, samples = fetch(url, token, timeout=timeout)
    except WebError as fault:
        yield note(
            "metrics_port.closed", f"OTEL_PROMETHEUS_ENDPOINT: {fault}",
            "The exporter of a running server opens it; if one runs, see the server's log.",
        )  # fmt: skip
        return
    if samples:
        yield good("metrics_port.read", f"{url} has the metrics")
    elif response.status == 401 and response.headers.get("www-authenticate") == CHALLENGE:
        yield warning("metrics_port.token", f"{url} requires the token", "Give --token to read it.")
    else:
        yield warning(
            "metrics_port.other_program",
            f"{url} is served by another program ({response.status})",
            "Choose another port in OTEL_PROMETHEUS_ENDPOINT.",
        )  # fmt: skip


def _not_shown(url: str, response: Response, settings: Settings, token: str) -> Finding:
    if response.status == 503 and not response.body:
        return error(
            "metrics_page.failed", f"{url} responds with 503: the server cannot make the page",
            "Its log has the cause after 'internal telemetry error in start' or 'in scrape':"
            " mostly the rights or the space of the runtime directory.",
        )  # fmt: skip
    if response.status >= 500:
        return error(
            "metrics_page.unavailable",
            f"{url} responds with {response.status}: the application, or a proxy before it, fails",
            "Check that the server runs, and use its own address instead of that of a proxy.",
        )  # fmt: skip
    if not settings.metrics_path:
        return error(
            "metrics_page.off", "AVATAR_TELEMETRY_METRICS_PATH is empty: there is no page",
            "Set it to /metrics, or give the separate port (OTEL_PROMETHEUS_ENDPOINT) with --url.",
        )  # fmt: skip
    if 300 <= response.status < 400:
        target = response.headers.get("location", "nowhere")
        return error("metrics_page.redirect", f"{url} redirects to {target}",
                     "Use the URL of the target, or better gunicorn's own address.")  # fmt: skip
    access = (
        "Check that --token is AVATAR_TELEMETRY_METRICS_TOKEN of the server."
        if token
        else "Give --token, or connect from a network in AVATAR_TELEMETRY_METRICS_ALLOW without a"
        " proxy (a request with forwarding headers is refused)."
    )
    return error(
        "metrics_page.not_shown",
        f"{url} has a response of the application ({response.status}) instead of the metrics",
        f"{access} Else the application is not wrapped (instrument() in wsgi.py),"
        " or the server has OTEL_SDK_DISABLED=true.",
    )  # fmt: skip


def _same_server(samples: Samples, settings: Settings) -> Iterator[Finding]:
    version = samples.label(BUILD_INFO, "version")
    here = dict(target_labels(resource_attributes(settings)))
    there = {
        name: value
        for name in ("service_name", "deployment_environment", "service_instance_id")
        if (value := samples.label("target_info", name)) and value != here.get(name)
    }
    name = next(iter(there), "")
    yield from select(
        (version != VERSION, "warning", "metrics_page.version",
         f"the server runs version {version}, this is {VERSION}",
         "Restart the server, or run its own doctor."),
        (there, "warning", "metrics_page.other_settings",
         f"the server has {name}={there.get(name)}, this environment {here.get(name)}",
         "Run the doctor with the environment of the server."),
    )  # fmt: skip


def _workers(samples: Samples) -> Iterator[Finding]:
    workers, waiting = samples.total("gunicorn_workers"), samples.total("gunicorn_backlog")
    slots, has_hooks = (
        samples.total("avatar_telemetry_slots_in_use"),
        samples.has("gunicorn_workers"),
    )
    memory = "process_resident_memory_bytes"
    sizes = {name: samples.total(memory, worker=name) for name in samples.values(memory, "worker")}
    largest = max(sizes, key=lambda worker: sizes[worker], default="")
    size = sizes.get(largest, 0)
    message = f"the largest process ({largest}) has {size / (1 << 20):.0f} MiB"
    yield from select(
        (not has_hooks, "warning", "metrics_page.no_hooks",
         "the page has the metrics of one process alone",
         "Import the five hooks in gunicorn.conf.py (docs/gunicorn.md); other servers have none."),
        (has_hooks, "good", "metrics_page.workers",
         f"{workers:.0f} workers, {slots:.0f} slots in use", ""),
        (has_hooks and waiting > workers, "warning", "metrics_page.backlog",
         f"{waiting:.0f} connections wait for {workers:.0f} workers",
         "Raise the number of workers (or threads)."),
        (sizes and size <= MAX_MEMORY, "good", "memory.resident", message, ""),
        (size > MAX_MEMORY, "warning", "memory.high", message,
         "If it grows: let gunicorn recycle workers (max_requests); no count or span is lost."),
    )  # fmt: skip


def _requests(samples: Samples, profile: Profile) -> Iterator[Finding]:
    requests, failed = samples.total(REQUESTS), samples.errors()
    unknown = samples.total(REQUESTS, path="other")
    served = samples.total("ivatar_avatar_requests_total", status_code="200") >= MIN_REQUESTS
    hits = samples.total("ivatar_avatar_cache_hits_total")
    lookups = hits + samples.total("ivatar_avatar_cache_misses_total")
    made = samples.total("ivatar_avatars_generated_total")
    yield from select(
        (not requests, "warning", "metrics_page.no_requests", "no request has been counted yet",
         "Send one: series appear with the first request of their kind. If none is counted,"
         " requests reach another server, or an application without instrument()."),
        (unknown >= MIN_REQUESTS and unknown > requests / 2, "warning",
         "metrics_page.unknown_paths",
         f"{unknown:.0f} of {requests:.0f} requests match no route of profile {profile.name}",
         "Choose the application's profile (AVATAR_TELEMETRY_PROFILE); avatar-telemetry routes"
         " PATH shows the route of a URL."),
        (failed > requests / 20, "warning", "metrics_page.errors",
         f"{failed:.0f} of {requests:.0f} requests have a 5xx status",
         "avatar-telemetry top shows which routes; the server's log has the cause."),
        (served and not lookups, "warning", "metrics_page.no_cache",
         "avatars were served without any lookup in the avatar cache",
         f"Profile {profile.name} expects it in {', '.join(profile.avatar_cache) or 'no cache'};"
         " check that the application uses it, and that its probe is on."),
        (served and lookups and not made, "note", "metrics_page.none_made",
         "no avatar was generated: all were cached, or the profile does not name the generators"
         " in use", ""),
    )  # fmt: skip


def _exports(samples: Samples, settings: Settings) -> Iterator[Finding]:
    sends = settings.export_enabled and "otlp" in settings.traces_exporters
    pushes = pushes_metrics(settings) or settings.prometheus_endpoint
    has_exporter, up = samples.has(UP), samples.total(UP)
    exported, failed, dropped = (
        samples.total(SPANS, result=result) for result in ("exported", "failed", "dropped")
    )
    pushed, lost = (samples.total(PUSHES, result=result) for result in ("exported", "failed"))
    silent = samples.total(REQUESTS) >= MIN_REQUESTS and not exported and not failed
    yield from select(
        (exported, "good", "traces.exported", f"the server has exported {exported:.0f} spans", ""),
        (sends and silent, "warning", "traces.none",
         "the server has counted requests and exported no span",
         "Check that it was started with OTEL_EXPORT_ENABLED=true. A span waits up to"
         f" {settings.schedule_delay / 1000:g} s, and the sampler may record none."),
        (failed, "warning", "traces.failed",
         f"{failed:.0f} spans were not accepted by the collector",
         "If the test span arrives now, the collector was unavailable; else see the server's log."),
        (dropped, "warning", "traces.dropped",
         f"{dropped:.0f} spans were dropped because the ring was full",
         "Record fewer traces (OTEL_TRACES_SAMPLER=parentbased_traceidratio), or raise"
         " OTEL_BSP_MAX_QUEUE_SIZE and AVATAR_TELEMETRY_RING_SIZE."),
        (pushed, "good", "metrics.pushed", f"{pushed:.0f} pushes of the metrics have arrived", ""),
        (lost, "warning", "metrics.push_failed", f"{lost:.0f} pushes of the metrics have failed",
         "The next push has the same counts; the server's log has the cause."),
        (has_exporter and not up, "warning", "metrics.no_exporter",
         "no exporter runs: nothing is sent, and the separate port is closed",
         "The next request starts another one; if it does not, see the server's log."),
        (pushes and not has_exporter, "warning", "metrics.not_pushed",
         "this environment enables the push of metrics, the server's does not",
         "Restart it with these settings."),
    )  # fmt: skip


def _failures(samples: Samples) -> Iterator[Finding]:
    name = "avatar_telemetry_internal_errors_total"
    errors, refused = samples.total(name), samples.total("avatar_telemetry_series_refused_total")
    places = [each for each in samples.values(name, "where") if samples.total(name, where=each)]
    unreadable = samples.total("avatar_telemetry_unreadable_files")
    yield from select(
        (errors, "warning", "metrics_page.internal_errors",
         f"{errors:.0f} internal errors of the telemetry, in {', '.join(places)}",
         "Requests were not affected; the server's log has the traceback. Please report it."),
        (refused, "warning", "metrics_page.series_refused",
         f"{refused:.0f} new series were refused",
         "Raise AVATAR_TELEMETRY_MAX_SERIES, or list fewer AVATAR_TELEMETRY_SIZES."),
        (unreadable, "warning", "metrics_page.unreadable",
         f"{unreadable:.0f} files of the runtime directory are unreadable",
         "Check that no other program uses PROMETHEUS_MULTIPROC_DIR."),
    )  # fmt: skip
