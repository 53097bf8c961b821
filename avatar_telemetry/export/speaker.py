"""What the one speaker of a host does, put together: the separate port, pushes, the last push."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.export.continuity import Continuity
from avatar_telemetry.export.leader import Duty, Leader
from avatar_telemetry.export.pusher import Pusher, push_last_by
from avatar_telemetry.export.throttle import install_throttle
from avatar_telemetry.export.wanted import pushes_metrics
from avatar_telemetry.guard import Guard
from avatar_telemetry.scrape.collector import Collector, Server
from avatar_telemetry.scrape.exposition import Access, MetricsPage
from avatar_telemetry.scrape.port import OpenPage, Port
from avatar_telemetry.store.folder import RuntimeFolder
from avatar_telemetry.store.instruments import METRIC_PUSHES
from avatar_telemetry.store.slots import try_lead


def make_leader(
    folder: RuntimeFolder,
    settings: Settings,
    collector: Collector,
    page: MetricsPage,
    guard: Guard,
    count: Callable[..., None],
) -> Leader | None:
    """The leader that the settings ask for.

    Args:
        folder: the runtime folder.
        settings: of the port and of the exporters.
        collector: what is pushed.
        page: what is served.
        guard: told of failures.
        count: counts a push: an instrument and its label values.

    Returns:
        A thread that is not started yet, or ``None`` where nothing has to be said.
    """
    duties: list[Duty] = []
    if settings.prometheus_endpoint:
        access = Access(settings.metrics_allow, settings.metrics_token)
        port_page = OpenPage(page, access, token=bool(settings.metrics_token))
        duties.append(Port(settings.prometheus_endpoint, port_page))
    if pushes_metrics(settings):
        continuity = _continuity(folder, settings)
        duties.append(Pusher(settings, collector, continuity, partial(count, METRIC_PUSHES)))
    return Leader(folder.path, duties, guard) if duties else None


def push_last(folder: RuntimeFolder, settings: Settings, guard: Guard) -> None:
    """In the master, when its workers have ended: push what they counted since the last push.

    Where another server uses the folder (an upgrade in place) its leader does that.
    """
    deadline = time.monotonic() + settings.flush_timeout
    lock = try_lead(folder.path)
    if lock is None:
        return
    try:
        install_throttle(folder.path, settings)
        collector = Collector(folder.path, settings, Server(os.getpid(), lambda: ()))
        continuity = _continuity(folder, settings)
        timeout = max(deadline - time.monotonic(), 0.1)
        push_last_by(deadline, Pusher(settings, collector, continuity, timeout=timeout), guard)
    finally:
        os.close(lock)


def _continuity(folder: RuntimeFolder, settings: Settings) -> Continuity:
    since = int(folder.since * 1e9)
    return Continuity(folder.path, since, delta=settings.temporality != "cumulative")
