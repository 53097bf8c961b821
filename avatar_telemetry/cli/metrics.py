"""``metrics``: the merged page of a runtime folder, without asking the server."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.collector import Collector, Server
from avatar_telemetry.metrics.exposition import render
from avatar_telemetry.metrics.folder import living_masters, served_dirs


@click.command("metrics")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--openmetrics", is_flag=True, help="OpenMetrics instead of the text format 0.0.4.")
def metrics(folder: Path | None, openmetrics: bool) -> None:
    """Print the merged metrics of a runtime FOLDER, of a running server or one that was killed.

    Without FOLDER it is PROMETHEUS_MULTIPROC_DIR, or the private folder of the one server that
    runs. It is read without the server: the state of its sockets and its exporter is missing.

    \b
    Examples:
      avatar-telemetry metrics
      avatar-telemetry metrics /dev/shm/avatar-telemetry-x1y2z3 | grep ivatar_requests_total
    """
    settings = Settings.from_env(os.environ)
    path = folder or _find_folder(settings)
    if not os.path.isdir(path) or not os.access(path, os.R_OK | os.X_OK):
        raise click.UsageError(
            f"{path} is not a folder that this user can read; see PROMETHEUS_MULTIPROC_DIR"
        )
    masters = living_masters(path)
    if not masters and not any(path.glob("*.db")):
        raise click.UsageError(
            f"no server runs in {path}, and its metrics are gone: a server that ends removes them"
        )
    server = Server(masters[-1]) if masters else None
    # A check for the exporter would try its lock, which only workers may take.
    offline = replace(settings, prometheus_endpoint=None, export_enabled=False)
    families = Collector(path, offline, server).collect()
    click.echo(render(families, openmetrics=openmetrics), nl=False)


def _find_folder(settings: Settings) -> Path:
    """Return the folder of the settings, or that of the only server of this user."""
    if settings.multiproc_dir:
        return Path(settings.multiproc_dir)
    found = list(served_dirs())
    if len(found) == 1:
        return found[0]
    raise click.UsageError(
        f"several servers run; name the FOLDER of one: {' '.join(map(str, found))}"
        if found
        else "no server of this user runs; name its FOLDER, or run this as its user (sudo -u)"
    )
