"""``metrics``: the merged page of a runtime directory, without a request to the server."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click

from avatar_telemetry.cli.completion import runtime_dirs
from avatar_telemetry.cli.environment import find_directory
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.collector import Collector, Server
from avatar_telemetry.metrics.exposition import render
from avatar_telemetry.metrics.folder import living_masters


@click.command("metrics")
@click.argument("directory", required=False, type=click.Path(path_type=Path),
                shell_complete=runtime_dirs)  # fmt: skip
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
    path = directory or find_directory(settings)
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
