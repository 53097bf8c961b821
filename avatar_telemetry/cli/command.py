"""The command: its subcommands, imported when they are called, and the handling of errors.

Exit status: 0 success, 1 warnings (``doctor``), 2 errors, 130 interrupted, except ``profile`` and
``top``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click

from avatar_telemetry._base.errors import AvatarTelemetryError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

NAME = "avatar-telemetry"
ERROR = 2
INTERRUPTED = 130
COMMANDS = {
    "check-config": "Check the configuration as the server's start does.",
    "doctor": "Diagnose the settings and a running server.",
    "metrics": "Print the merged metrics of a runtime directory.",
    "profile": "Draw a flame graph of all workers.",
    "routes": "Show the route and the telemetry of a URL.",
    "settings": "Describe the settings.",
    "top": "Show rates, percentiles and workers of a running server.",
}
"""The commands with their summaries; the module of the same name defines each."""

COMPLETION = """\b
Completion, a line for the configuration file of the shell:
  bash  eval "$(_AVATAR_TELEMETRY_COMPLETE=bash_source avatar-telemetry)"
  zsh   eval "$(_AVATAR_TELEMETRY_COMPLETE=zsh_source avatar-telemetry)"
  fish  _AVATAR_TELEMETRY_COMPLETE=fish_source avatar-telemetry | source
"""


class LazyGroup(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        attribute = name.replace("-", "_")
        module = import_module(f"avatar_telemetry.cli.{attribute}")
        found: click.Command = getattr(module, attribute)
        return found

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # not imported by the help

        found = [
            CompletionItem(name, help=summary)
            for name, summary in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, context, incomplete)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=COMPLETION,
)
@click.version_option(package_name=NAME, prog_name=NAME)
@click.option("--traceback", is_flag=True, help="Show the traceback of an unexpected error.")
@click.pass_context
def command(context: click.Context, traceback: bool) -> None:
    """Check and inspect the telemetry of an avatar server.

    Settings are read from the environment, as the server does.

    \b
    Examples:
      avatar-telemetry doctor --url http://127.0.0.1:8000
      avatar-telemetry routes '/avatar/0bc83cb571cd1c50ba6f3e8a78ef1346?s=80'
      avatar-telemetry top http://127.0.0.1:8000
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        context.color = False  # https://no-color.org
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(ERROR)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process.

    Args:
        arguments: the arguments without the program's name; ``None`` for those of the process.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = command.main(arguments, prog_name=NAME, standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" ({context.command_path} --help shows examples)" if context else ""
        _end(error.format_message() + hint)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except AvatarTelemetryError as error:
        _end(str(error))
    except BrokenPipeError:
        # The reader of the pipe has ended (| head); the interpreter would flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if "--traceback" in arguments:
            raise
        _end(f"{type(error).__name__}: {error} (avatar-telemetry --traceback shows the traceback)")


def _end(message: str) -> None:
    click.echo(f"{NAME}: {message.removeprefix('avatar_telemetry: ')}", err=True)
    sys.exit(ERROR)
