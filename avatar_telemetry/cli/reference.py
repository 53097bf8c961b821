"""The page of the documentation that describes every setting."""

from __future__ import annotations

import re
from collections.abc import Iterator

from avatar_telemetry.config.otlp import OTLP_SETTINGS
from avatar_telemetry.config.settings import OWN_PREFIX, SETTINGS
from avatar_telemetry.config.typos import UNUSED
from avatar_telemetry.config.variable import Setting

HEAD = """\
# Settings

<!-- Made by `avatar-telemetry settings --markdown`; a test compares. -->

All settings are environment variables. An empty one counts as unset, except where its entry defines
a meaning for it. All are checked before a worker starts. An invalid variable of this package or of
ivatar's document, and an invalid endpoint, file, header or pattern, stops the start with a message
that names all invalid variables. An invalid enum, boolean or number of the OpenTelemetry
specification is ignored with a warning ([Bad values](decisions/14-bad-values.md)).
`avatar-telemetry check-config` makes the same checks without a server.

Most servers need these few: [`OTEL_EXPORT_ENABLED`](#otel_export_enabled),
[`OTEL_EXPORTER_OTLP_ENDPOINT`](#otel_exporter_otlp_endpoint),
[`OTEL_SERVICE_NAME`](#otel_service_name), [`OTEL_ENVIRONMENT`](#otel_environment),
[`HOSTNAME`](#hostname), [`OTEL_TRACES_SAMPLER`](#otel_traces_sampler),
[`AVATAR_TELEMETRY_METRICS_TOKEN`](#avatar_telemetry_metrics_token),
[`AVATAR_TELEMETRY_TRUSTED_PROXIES`](#avatar_telemetry_trusted_proxies),
[`AVATAR_TELEMETRY_PRIVACY`](#avatar_telemetry_privacy).
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
"""
OTLP_MARK = "OTLP: "
VARIABLE = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+(?:=\w+)?")


def markdown() -> str:
    """Return the page of the documentation.

    A setting is a heading with its meaning, default and valid texts below: the names are too long
    for the columns of a table, and each heading can be linked to.
    """
    own = {name: each for name, each in SETTINGS.items() if each.variable.startswith(OWN_PREFIX)}
    standard = {name: each for name, each in SETTINGS.items() if name not in own}
    sections = ((STANDARD, standard), (OWN, own), (OTLP, OTLP_SETTINGS[None]))
    parts = [HEAD]
    for text, table in sections:
        parts += [text, *map(_entry, table.values())]
    return "\n".join([*parts, NOT_USED, *_not_used()]) + "\n"


def _entry(setting: Setting) -> str:
    meaning = setting.meaning
    if meaning.startswith(OTLP_MARK):
        meaning = meaning.removeprefix(OTLP_MARK)
        meaning = meaning[:1].upper() + meaning[1:]
    meaning += " A secret." if setting.secret else ""
    default = f"`{setting.default}`" if setting.default else "none"
    if setting.alias:
        default = f"that of `{setting.alias}`, else {default}"
    return (
        f"### `{setting.variable}`\n\n{_with_code(meaning)}\n\n"
        f"- Default: {default}\n- Allowed: {_with_code(setting.allowed)}\n"
    )


def _not_used() -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for name, advice in UNUSED.items():
        names.setdefault(advice, []).append(f"`{name}`")
    for advice, unused in names.items():
        yield f"- {', '.join(unused)}: {_with_code(advice)}"


def _with_code(text: str) -> str:
    """Mark the names of variables in a text as code."""
    return VARIABLE.sub(r"`\g<0>`", text)
