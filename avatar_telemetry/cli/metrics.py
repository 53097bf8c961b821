"""``metrics``: the merged page of a runtime directory, without a request to the server."""

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
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--openmetrics", is_flag=True, help="OpenMetrics instead of the text format 0.0.4.")
def metrics(directory: Path | None, openmetrics: bool) -> None:
    """Print the merged metrics of a runtime DIRECTORY, of a running or a killed server.

    The default is PROMETHEUS_MULTIPROC_DIR, or the private directory of the only running server. No
    request is sent to the server: the state of its sockets and its exporter is missing.

    \b
    Examples:
      avatar-telemetry metrics
      avatar-telemetry metrics /dev/shm/avatar-telemetry-x1y2z3 | grep ivatar_requests_total
    """
    settings = Settings.from_env(os.environ)
    path = directory or _find_directory(settings)
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        raise click.UsageError(
            f"{path} does not exist: a server that ends removes its private directory; name that"
            " of a running one, or set PROMETHEUS_MULTIPROC_DIR"
        ) from None
    except OSError as error:
        raise click.UsageError(
            f"{path} cannot be read: {error.strerror}; name a directory that this user can read"
        ) from None
    masters = living_masters(path)
    if not masters and not any(name.endswith(".db") for name in names):
        raise click.UsageError(
            f"no server uses {path}, and it has no metrics: a server removes them at its end"
        )
    server = Server(masters[-1]) if masters else None
    # A check for the exporter would try its lock, which only workers may take.
    offline = replace(settings, prometheus_endpoint=None, export_enabled=False)
    families = Collector(path, offline, server).collect()
    click.echo(render(families, openmetrics=openmetrics), nl=False)


def _find_directory(settings: Settings) -> Path:
    """Return the directory of the settings, or that of the only running server of this user."""
    if settings.multiproc_dir:
        return Path(settings.multiproc_dir)
    found = list(served_dirs())
    if len(found) == 1:
        return found[0]
    raise click.UsageError(
        f"several servers run; name the DIRECTORY of one: {' '.join(map(str, found))}"
        if found
        else "no server of this user runs; name its DIRECTORY, or run this as its user (sudo -u)"
    )
