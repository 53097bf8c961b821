"""``demo``: the demo avatar server under gunicorn, with the telemetry around it."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import click

from avatar_telemetry.startup import check_demo

NEEDED = {"PIL": "pillow", "pymemcache": "pymemcache", "sqlalchemy": "sqlalchemy"}
CONFIGURATION = "avatar_telemetry.cli.demo_server"


@click.command("demo")
@click.option("--workers", "-w", default=2, type=click.IntRange(1, 64), show_default=True)
@click.option(
    "--bind", "-b", default="127.0.0.1:8000", show_default=True, help="host:port or unix:path."
)
@click.argument("gunicorn_options", nargs=-1, type=click.UNPROCESSED)
def demo(workers: int, bind: str, gunicorn_options: tuple[str, ...]) -> None:
    """Serve the demo avatar server with gunicorn, in the foreground; Ctrl-C ends it.

    GUNICORN_OPTIONS after -- go to gunicorn. The settings of the environment hold.

    \b
    Examples:
      avatar-telemetry demo
      avatar-telemetry demo --workers 4 --bind 0.0.0.0:8080 -- --worker-class gthread --threads 4
      OTEL_EXPORT_ENABLED=true avatar-telemetry demo
    """
    missing = [name for module, name in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise click.UsageError(
            f"the demo needs {', '.join(missing)}: pip install 'avatar-telemetry[demo]'"
        )
    check_demo(os.environ)
    command = [
        sys.executable, "-m", "gunicorn", "-c", f"python:{CONFIGURATION}",
        "--workers", str(workers), "--bind", bind, *gunicorn_options,
    ]  # fmt: skip
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - signals shall reach gunicorn itself
