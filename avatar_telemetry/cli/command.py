"""The command and its list of commands; every error ends here, as one line with what to do.

Exit status: 0 good, 1 warnings (``doctor``), 2 errors, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from avatar_telemetry.cli.check_config import check_config
from avatar_telemetry.cli.doctor import doctor
from avatar_telemetry.cli.environment import keep_metrics_here
from avatar_telemetry.cli.metrics import metrics
from avatar_telemetry.cli.routes import routes
from avatar_telemetry.cli.settings import settings
from avatar_telemetry.cli.top import top
from avatar_telemetry.errors import AvatarTelemetryError
from avatar_telemetry.version import VERSION

NAME = "avatar-telemetry"
ERROR = 2
INTERRUPTED = 130


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='Completion for bash: eval "$(_AVATAR_TELEMETRY_COMPLETE=bash_source avatar-telemetry)"'
    "; zsh_source and fish_source give that of zsh and fish.",
)
@click.version_option(VERSION, prog_name=NAME)
@click.option("--traceback", is_flag=True, help="Show where an error came from.")
@click.pass_context
def command(context: click.Context, traceback: bool) -> None:
    """Look after the telemetry of an avatar server.

    Settings are read from the environment, as the server reads them.

    \b
    Examples:
      avatar-telemetry doctor --url http://127.0.0.1:8000
      avatar-telemetry routes '/avatar/0bc83cb571cd1c50ba6f3e8a78ef1346?s=80'
      avatar-telemetry top http://127.0.0.1:8000
    """
    keep_metrics_here()
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(ERROR)


for each in (doctor, check_config, settings, routes, metrics, top):
    command.add_command(each)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process.

    Args:
        arguments: without the program's name; those of the process where absent.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = command.main(arguments, prog_name=NAME, standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        _end(error.format_message() + _hint(error))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except AvatarTelemetryError as error:
        _end(str(error))
    except BrokenPipeError:
        # Nobody reads any more (avatar-telemetry ... | head); the interpreter would flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if "--traceback" in arguments:
            raise
        _end(f"{type(error).__name__}: {error} (--traceback before the command shows where)")


def _hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f" ({context.command_path} --help shows examples)" if context is not None else ""


def _end(message: str) -> None:
    click.echo(f"{NAME}: {message.removeprefix('avatar_telemetry: ')}", err=True)
    sys.exit(ERROR)
