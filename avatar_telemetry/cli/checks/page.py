"""The metrics page of a running server: what is missing on it, and why."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from avatar_telemetry.cli.checks.finding import Finding, error, good, note, warning
from avatar_telemetry.cli.samples import Samples, read_samples
from avatar_telemetry.cli.web import Answer, Site, WebError
from avatar_telemetry.config.destinations import pushes_metrics
from avatar_telemetry.config.resource import resource_attributes, target_labels
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.profile import Profile
from avatar_telemetry.scrape.port import CHALLENGE
from avatar_telemetry.version import VERSION

MUCH_MEMORY = 512 << 20
HERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked, not bound
"""Where a server is asked that listens on all addresses."""
FEW = 20
"""Requests after which what has never been seen is worth a word."""


def check_page(
    settings: Settings, profile: Profile, url: str, token: str, timeout: float
) -> Iterator[Finding]:
    """Read the page and look at it.

    Args:
        settings: that the server is thought to have.
        profile: likewise.
        url: of the server, or of its page.
        token: that opens it, or an empty text.
        timeout: seconds for each step.
    """
    if not urlsplit(url).path.strip("/"):
        url = url.rstrip("/") + (settings.metrics_path or "/metrics")
    try:
        site = Site(url, timeout)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = site.ask("GET", "", headers={"Accept": "text/plain", **headers})
    except WebError as fault:
        yield error("metrics_page.no_answer", str(fault), "Start the server, or correct --url.")
        return
    samples = read_samples(answer.text) if answer.status == 200 else None
    if samples is None or not samples.has("avatar_telemetry_build_info"):
        yield _not_ours(url, answer, settings, token)
        return
    yield good(
        "metrics_page.read", f"{url}: {samples.total('ivatar_requests_total'):.0f} requests counted"
    )
    yield from _same_server(samples, settings)
    yield from _workers(samples)
    yield from _counted(samples, settings, profile)
    yield from _spans(samples, settings)
    yield from _pushed(samples, settings)
    yield from _inner(samples)
    yield from _memory(samples)


def check_port(settings: Settings, token: str, timeout: float) -> Iterator[Finding]:
    """Look at the separate metrics port, where one is set.

    Args:
        settings: of the server.
        token: that opens it, or an empty text.
        timeout: seconds for each step.
    """
    if settings.prometheus_endpoint is None:
        return
    host, port = settings.prometheus_endpoint
    name = HERE.get(host, host)
    url = f"http://{f'[{name}]' if ':' in name else name}:{port}"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = Site(url, timeout).ask("GET", "/metrics", headers=headers)
    except WebError as fault:
        yield note(
            "metrics_port.closed", f"OTEL_PROMETHEUS_ENDPOINT: {fault}",
            "The exporter of a running server opens it; if one runs, see the server's log.",
        )  # fmt: skip
        return
    samples = read_samples(answer.text) if answer.status == 200 else None
    if samples is not None and samples.has("avatar_telemetry_build_info"):
        yield good("metrics_port.read", f"{url} shows the metrics")
    elif answer.status == 401 and answer.headers.get("www-authenticate") == CHALLENGE:
        yield warning("metrics_port.token", f"{url} wants the token", "Give --token to read it.")
    else:
        yield warning(
            "metrics_port.somebody_elses", f"{url} is served by another program ({answer.status})",
            "Choose another port in OTEL_PROMETHEUS_ENDPOINT.",
        )  # fmt: skip


def _not_ours(url: str, answer: Answer, settings: Settings, token: str) -> Finding:
    if answer.status == 503:
        return error(
            "metrics_page.failed", f"{url} answers 503: the page cannot be made",
            "The server's log says why; is its runtime folder still there?",
        )  # fmt: skip
    if not settings.metrics_path:
        return error(
            "metrics_page.off", "AVATAR_TELEMETRY_METRICS_PATH is empty: there is no page",
            "Set it to /metrics, or ask the separate port (OTEL_PROMETHEUS_ENDPOINT) with --url.",
        )  # fmt: skip
    if 300 <= answer.status < 400:
        return error(
            "metrics_page.redirect",
            f"{url} redirects to {answer.headers.get('location', 'nowhere')}",
            "Give the URL behind it, best gunicorn's own address.",
        )  # fmt: skip
    who = (
        "Is the token (--token) the one of AVATAR_TELEMETRY_METRICS_TOKEN there?"
        if token
        else "Give --token, or ask from a network in AVATAR_TELEMETRY_METRICS_ALLOW and without a"
        " proxy between (its headers close the page)."
    )
    return error(
        "metrics_page.not_shown",
        f"{url} answers {answer.status} from the application, not with the metrics",
        f"{who} Else the application is not wrapped (instrument() in wsgi.py), or the server has"
        " OTEL_SDK_DISABLED=true.",
    )


def _same_server(samples: Samples, settings: Settings) -> Iterator[Finding]:
    version = samples.label("avatar_telemetry_build_info", "version")
    if version != VERSION:
        yield warning(
            "metrics_page.version", f"the server runs version {version}, this is {VERSION}",
            "Restart the server, or run its own doctor.",
        )  # fmt: skip
    here = dict(target_labels(resource_attributes(settings)))
    for name in ("service_name", "deployment_environment", "service_instance_id"):
        there = samples.label("target_info", name)
        if there and there != here.get(name):
            yield warning(
                "metrics_page.other_settings",
                f"the server has {name}={there}, this environment {here.get(name)}",
                "These settings are not the server's: run the doctor in its environment.",
            )
            return


def _workers(samples: Samples) -> Iterator[Finding]:
    if not samples.has("gunicorn_workers"):
        yield warning(
            "metrics_page.no_hooks", "the page is of one process alone",
            "Import the five hooks in gunicorn.conf.py (docs/gunicorn.md); others have none.",
        )  # fmt: skip
        return
    workers, slots = (
        samples.total("gunicorn_workers"),
        samples.total("avatar_telemetry_slots_in_use"),
    )
    yield good("metrics_page.workers", f"{workers:.0f} workers, {slots:.0f} slots in use")
    waiting = samples.total("gunicorn_backlog")
    if waiting > workers:
        yield warning(
            "metrics_page.backlog", f"{waiting:.0f} connections wait for {workers:.0f} workers",
            "Raise the number of workers (or threads).",
        )  # fmt: skip


def _counted(samples: Samples, settings: Settings, profile: Profile) -> Iterator[Finding]:
    requests = samples.total("ivatar_requests_total")
    if not requests:
        yield warning(
            "metrics_page.no_requests", "no request has been counted yet",
            "Send one: series appear with the first request of their kind. If it stays so, requests"
            " reach another server, or pass by instrument().",
        )  # fmt: skip
        return
    unknown = samples.total("ivatar_requests_total", path="other")
    if unknown >= FEW and unknown > requests / 2:
        yield warning(
            "metrics_page.unknown_paths",
            f"{unknown:.0f} of {requests:.0f} requests are of no route of profile {profile.name}",
            "Choose the application's profile (AVATAR_TELEMETRY_PROFILE); avatar-telemetry routes"
            " PATH shows what it makes of a URL.",
        )
    served = samples.total("ivatar_avatar_requests_total", status_code="200")
    if served >= FEW:
        yield from _avatars(samples, profile)
    failed = sum(
        samples.total("ivatar_requests_total", status_code=code)
        for code in samples.values("ivatar_requests_total", "status_code") if code[:1] == "5"
    )  # fmt: skip
    if failed > requests / 20:
        yield warning(
            "metrics_page.errors", f"{failed:.0f} of {requests:.0f} requests ended with a 5xx",
            "avatar-telemetry top shows which routes; the server's log says why.",
        )  # fmt: skip


def _avatars(samples: Samples, profile: Profile) -> Iterator[Finding]:
    looked_up = samples.total("ivatar_avatar_cache_hits_total") + samples.total(
        "ivatar_avatar_cache_misses_total"
    )
    if not looked_up:
        yield warning(
            "metrics_page.no_cache",
            "avatars were served, and no look-up in the avatar cache was seen",
            f"Profile {profile.name} expects it in {', '.join(profile.avatar_cache) or 'no cache'};"
            " is that the one in use, and is its probe on?",
        )  # fmt: skip
    elif not samples.total("ivatar_avatars_generated_total"):
        yield note(
            "metrics_page.none_made", "no avatar was seen to be made: all came from the cache, or"
            " the profile does not name the generators in use",
        )  # fmt: skip


def _spans(samples: Samples, settings: Settings) -> Iterator[Finding]:
    if not settings.export_enabled or "otlp" not in settings.traces_exporters:
        return
    name = "avatar_telemetry_spans_total"
    exported, failed, dropped = (
        samples.total(name, result=result) for result in ("exported", "failed", "dropped")
    )
    if exported:
        yield good("traces.exported", f"the server has exported {exported:.0f} spans")
    if failed:
        yield warning(
            "traces.failed", f"{failed:.0f} spans were not taken by the collector",
            "If the test span arrives now, the collector was away; else see the server's log.",
        )  # fmt: skip
    if dropped:
        yield warning(
            "traces.dropped", f"{dropped:.0f} spans were dropped: the ring was full",
            "Record fewer traces (OTEL_TRACES_SAMPLER=parentbased_traceidratio), or raise"
            " OTEL_BSP_MAX_QUEUE_SIZE and AVATAR_TELEMETRY_RING_SIZE.",
        )  # fmt: skip
    if not exported and not failed and samples.total("ivatar_requests_total") >= FEW:
        yield warning(
            "traces.none", "the server has counted requests and sent no span",
            "Was it started with OTEL_EXPORT_ENABLED=true? Spans also wait up to"
            f" {settings.schedule_delay / 1000:g} s, and the sampler may record none.",
        )  # fmt: skip


def _pushed(samples: Samples, settings: Settings) -> Iterator[Finding]:
    if not samples.has("avatar_telemetry_exporter_up"):
        if pushes_metrics(settings) or settings.prometheus_endpoint:
            yield warning(
                "metrics.not_pushed", "the server does not push metrics, this environment says so",
                "Restart it with these settings.",
            )  # fmt: skip
        return
    if not samples.total("avatar_telemetry_exporter_up"):
        yield warning(
            "metrics.no_exporter",
            "no exporter runs: nothing is sent, and the separate port is closed",
            "The next request starts another one; if it stays so, see the server's log.",
        )  # fmt: skip
    name = "avatar_telemetry_metric_pushes_total"
    pushed, failed = (samples.total(name, result=result) for result in ("exported", "failed"))
    if pushed:
        yield good("metrics.pushed", f"pushes of the metrics that have arrived: {pushed:.0f}")
    if failed:
        yield warning(
            "metrics.push_failed", f"{failed:.0f} pushes of the metrics have failed",
            "What they held comes with the next one; the server's log says why.",
        )  # fmt: skip


def _inner(samples: Samples) -> Iterator[Finding]:
    name = "avatar_telemetry_internal_errors_total"
    places = [each for each in samples.values(name, "where") if samples.total(name, where=each)]
    if places:
        yield warning(
            "metrics_page.internal_errors",
            f"{samples.total(name):.0f} failures of the telemetry itself, in {', '.join(places)}",
            "The application went on; the server's log has the traceback. Please report it.",
        )
    refused = samples.total("avatar_telemetry_series_refused_total")
    if refused:
        yield warning(
            "metrics_page.series_refused", f"{refused:.0f} times a new series was refused",
            "Raise AVATAR_TELEMETRY_MAX_SERIES, or list fewer AVATAR_TELEMETRY_SIZES.",
        )  # fmt: skip
    unreadable = samples.total("avatar_telemetry_unreadable_files")
    if unreadable:
        yield warning(
            "metrics_page.unreadable",
            f"{unreadable:.0f} files of the runtime folder are unreadable",
            "Does another program use PROMETHEUS_MULTIPROC_DIR?",
        )  # fmt: skip


def _memory(samples: Samples) -> Iterator[Finding]:
    name = "process_resident_memory_bytes"
    sizes = {
        worker: samples.total(name, worker=worker) for worker in samples.values(name, "worker")
    }
    if not sizes:
        return
    largest = max(sizes, key=lambda worker: sizes[worker])
    told = f"the largest process ({largest}) has {sizes[largest] / (1 << 20):.0f} MiB"
    if sizes[largest] > MUCH_MEMORY:
        yield warning(
            "memory.high", told,
            "If it grows: let gunicorn recycle workers (max_requests); no count or span is lost.",
        )  # fmt: skip
    else:
        yield good("memory.resident", told)
