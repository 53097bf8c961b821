"""``settings``: the reference of all settings, and its page in the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from avatar_telemetry.cli.output import print_json
from avatar_telemetry.config.otlp import OTLP_SETTINGS
from avatar_telemetry.config.settings import OWN_PREFIX, SETTINGS, variables
from avatar_telemetry.config.typos import UNUSED
from avatar_telemetry.config.variable import Setting

HEAD = """\
# Settings

<!-- Made by `avatar-telemetry settings --markdown`; a test compares. -->

All settings are environment variables. An empty one counts as unset, except where the table defines
a meaning for it. All are checked before a worker starts. An invalid variable of this package or of
ivatar's document, and an invalid endpoint, file, header or pattern, stops the start with a message
that names all invalid variables. An invalid enum, boolean or number of the OpenTelemetry
specification is ignored with a warning ([record 14](decisions/14-bad-values.md)).
`avatar-telemetry check-config` makes the same checks without a server.
"""
OWN = """\
## Variables of this package

An unknown variable with this prefix also stops the start, because it is misspelt. Exceptions are
those that Kubernetes sets for a Service of this name (`AVATAR_TELEMETRY_PORT=tcp://...`).
"""
STANDARD = """\
## Variables of the server and of OpenTelemetry

Other programs use these prefixes, too: an unknown variable does not stop the start. Where it
differs from a known one by one or two letters, the start logs one warning.
"""
OTLP = """\
## OTLP

These apply to all signals. With `TRACES_`, `METRICS_` or `LOGS_` after `OTEL_EXPORTER_OTLP_`, a
variable applies to that signal alone and takes precedence: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`.
`/v1/traces` and so on is appended to the path of an endpoint for all signals; that of one signal is
used unchanged. The default endpoint is `http://localhost:4318`, with gRPC `http://localhost:4317`.
Port 4317 is gRPC's: where the endpoint has it and no protocol is set, gRPC is used if the extra
`grpc` is installed, else HTTP to port 4318 of that host.
"""
NOT_USED = """\
## Known and not used

Variables of OpenTelemetry without effect. Where one is set, the start logs one warning.

| variable | instead |
|---|---|"""
OTLP_MARK = "OTLP: "


@click.command("settings")
@click.argument("word", default="")
@click.option(
    "--markdown", "as_markdown", is_flag=True, help="Print the page of the documentation."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settings(word: str, as_markdown: bool, as_json: bool) -> None:
    """Describe every setting, or those with WORD in their name or meaning.

    \b
    Examples:
      avatar-telemetry settings
      avatar-telemetry settings privacy
      avatar-telemetry settings --markdown > docs/settings.md
    """
    if as_markdown:
        click.echo(markdown(), nl=False)
        return
    found = [
        each for each in variables() if word.lower() in f"{each.variable} {each.meaning}".lower()
    ]
    if not found:
        raise click.UsageError(f"no setting has {word!r} in its name or meaning")
    if as_json:
        names = ("variable", "alias", "default", "allowed", "meaning", "secret")
        print_json([{name: getattr(each, name) for name in names} for each in found])
        return
    for each in found:
        alias = f" (or {each.alias})" if each.alias else ""
        click.echo(click.style(each.variable, bold=True) + alias)
        click.echo(
            f"    {each.meaning} Allowed: {each.allowed}. Default: {each.default or 'none'}."
        )


def markdown() -> str:
    """Return the page of the documentation."""
    own = {name: each for name, each in SETTINGS.items() if each.variable.startswith(OWN_PREFIX)}
    standard = {name: each for name, each in SETTINGS.items() if name not in own}
    sections = ((STANDARD, standard), (OWN, own), (OTLP, OTLP_SETTINGS[None]))
    page = HEAD + "".join(
        f"\n{text}\n" + "\n".join(_table(table)) + "\n" for text, table in sections
    )
    unused = "\n".join(f"| `{name}` | {advice} |" for name, advice in UNUSED.items())
    return f"{page}\n{NOT_USED}\n{unused}\n"


def _table(table: Mapping[str, Setting]) -> Iterator[str]:
    yield "| variable | default | allowed | meaning |"
    yield "|---|---|---|---|"
    for each in table.values():
        name = f"`{each.variable}`" + (f", else `{each.alias}`" if each.alias else "")
        default = f"`{each.default}`" if each.default else ""
        meaning = each.meaning
        if meaning.startswith(OTLP_MARK):
            meaning = meaning.removeprefix(OTLP_MARK)
            meaning = meaning[:1].upper() + meaning[1:]
        meaning += " A secret." if each.secret else ""
        yield f"| {name} | {default} | {each.allowed} | {meaning} |"
