"""``routes``: the route, the series and the spans of a URL, as the middleware records them.

A request for the URL passes through the middleware into an application whose response has the
values of the options. Nothing is served or sent.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit
from wsgiref.util import setup_testing_defaults

import click

from avatar_telemetry.cli.completion import generator_names, profile_names, route_paths
from avatar_telemetry.cli.environment import load_chosen_profile
from avatar_telemetry.cli.output import print_json
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.merged import MergedStore
from avatar_telemetry.profiles.model import Profile, Route
from avatar_telemetry.testing import SLOT, Recording
from avatar_telemetry.wsgi.request import current_request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# An address for documentation (RFC 5737), which the privacy mode may truncate.
CLIENT = "192.0.2.77"


@click.command("routes")
@click.argument("path", nargs=-1, required=True, shell_complete=route_paths)
@click.option("--method", "-X", default="GET", help="Method of the request.")
@click.option("--status", default=200, type=click.IntRange(100, 599), help="Status code.")
@click.option("--content-type", default="", help="Content type; image/png for avatars.")
@click.option("--location", default="", help="Location header of a redirect.")
@click.option("--cache", type=click.Choice(["hit", "miss"]), help="Lookup in the avatar cache.")
@click.option("--generator", default="", shell_complete=generator_names,
              help="Generator of the profile that makes the image, such as Identicon:render.",
)  # fmt: skip
@click.option("--privacy", type=click.Choice(["strict", "balanced", "off"]), help="Privacy mode.")
@click.option("--profile", default="", shell_complete=profile_names,
              help="ivatar, generic or module:NAME.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def routes(
    path: tuple[str, ...], method: str, privacy: str | None, profile: str, as_json: bool,
    **response: Any,
) -> None:  # fmt: skip
    """Show how the URLs PATH... are classified: series, spans and their attributes.

    Nothing is sent. A digest is hashed with AVATAR_TELEMETRY_HASH_KEY, by default with a fixed key.

    \b
    Examples:
      avatar-telemetry routes '/avatar/0bc83cb571cd1c50ba6f3e8a78ef1346?s=80' --cache miss
      avatar-telemetry routes -X POST --status 302 --location /accounts/profile/ /accounts/login/
      avatar-telemetry routes --privacy off '/stats/?x=1' /nothing
    """
    options = {"AVATAR_TELEMETRY_PRIVACY": privacy, "AVATAR_TELEMETRY_PROFILE": profile}
    named = {variable: text for variable, text in options.items() if text}
    settings = Settings.from_env({**os.environ, **named})
    chosen = load_chosen_profile(settings)
    generator, known = response["generator"], chosen.generators
    if generator and generator not in known:
        none = f"only the generators {', '.join(known)}" if known else "no generators (--profile)"
        raise click.UsageError(f"--generator {generator}: the profile {chosen.name} has {none}")
    found = [record(settings, chosen, method.upper(), _target(each), **response) for each in path]
    if as_json:
        print_json(found)
        return
    for each in found:
        _show(each)


def record(
    settings: Settings, profile: Profile, method: str, target: str, *, status: int = 200,
    location: str = "", **response: Any,
) -> dict[str, Any]:  # fmt: skip
    """Pass a request for a path and query through the middleware, and return its telemetry: route,
    success of an upload or a login (else ``None``), increased counters, spans from the outermost.
    The response has the values of the options."""
    path, _, query = target.partition("?")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": method, "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query, "REMOTE_ADDR": CLIENT, "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "example.org", "wsgi.input": BytesIO(),
    }  # fmt: skip
    setup_testing_defaults(environ)
    route = profile.route(environ["PATH_INFO"])
    # Every request is recorded, whatever the sampling ratio.
    shown = replace(
        settings, traces_exporters=("none",), sampler="always_on", sampler_argument="",
        metrics_path="", hash_key=settings.hash_key or "routes",
    )  # fmt: skip
    application = partial(_respond, route, profile, status, location, **response)
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(Path(folder), shown, profile)
        body: Any = recording.wrap(application)(environ, lambda *head: lambda data: None)
        list(body)
        getattr(body, "close", lambda: None)()
        series = list(_increased(Path(folder)))
        recording.close()
    return {
        "target": target, "route": route.template, "kind": route.kind,
        "operation": route.operation,
        "success": route.succeeded(method, status, location) if route.succeeded else None,
        "series": series,
        "spans": [
            {"name": span.name, "attributes": dict(span.attributes or {})}
            for span in reversed(recording.spans())
        ],
    }  # fmt: skip


def _respond(
    route: Route, profile: Profile, status: int, location: str, environ: WSGIEnvironment,
    start_response: StartResponse, *, content_type: str = "", cache: str | None = None,
    generator: str = "",
) -> Iterable[bytes]:  # fmt: skip
    """Respond in place of the application."""
    request = current_request()
    if request is not None and cache:
        for name in profile.avatar_cache[:1]:
            request.cache_lookup(name, hit=cache == "hit")
    if request is not None and generator:
        request.generated(generator)
    default = "image/png" if route.kind == "avatar" and status == 200 else "text/html"
    headers = [("Content-Type", content_type or default)]
    start_response(f"{status} -", headers + ([("Location", location)] if location else []))
    return [b"body"]


def _increased(folder: Path) -> Iterator[str]:
    """Yield the lines of counters, and of the counts of histograms, that are not zero."""
    for family in MergedStore(folder).read([SLOT]):
        for name, prefix, value in zip(family.names, family.prefixes, family.values, strict=True):
            if value and name.endswith(("_total", "_count")):
                yield f"{prefix}{value:g}"


def _target(url: str) -> str:
    """Return path and query of a path or a URL; a path may begin with two slashes."""
    if url.startswith(("http://", "https://")):
        parts = urlsplit(url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not url.startswith("/"):
        raise click.UsageError(f"{url!r} does not begin with /; use a path or a whole URL")
    return url.partition("#")[0]


def _show(found: dict[str, Any]) -> None:
    operation = f", operation={found['operation']}" if found["operation"] else ""
    success = "" if found["success"] is None else f", success={str(found['success']).lower()}"
    click.secho(found["target"], bold=True)
    click.echo(f"  route  {found['route']}  kind={found['kind']}{operation}{success}")
    for line in found["series"]:
        click.echo(f"  counts {line}")
    for span in found["spans"]:
        click.echo(f"  span   {click.style(span['name'], fg='cyan')}")
        for name, value in span["attributes"].items():
            click.echo(f"           {name} = {value}")
    if not found["spans"]:
        click.echo("  span   none: OTEL_PYTHON_EXCLUDED_URLS excludes this URL")
    click.echo()
