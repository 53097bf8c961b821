"""``routes``: how a URL is classified, told by the layer itself.

A request for the URL passes through the real middleware into an application that answers as the
options say; what it recorded is what is shown.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import click

from avatar_telemetry.cli.environment import load_chosen_profile
from avatar_telemetry.cli.output import say, say_json
from avatar_telemetry.cli.rehearsal import Answer, Rehearsed, rehearse
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.profile import Profile


@click.command("routes")
@click.argument("path", nargs=-1, required=True)
@click.option("--method", "-X", default="GET", help="Of the request.")
@click.option("--status", default=200, type=click.IntRange(100, 599), help="Of the answer.")
@click.option("--content-type", default="", help="Of the answer; image/png for avatars.")
@click.option("--location", default="", help="Of the answer, where it redirects.")
@click.option("--cache", type=click.Choice(["hit", "miss"]), help="What the avatar cache says.")
@click.option(
    "--generator", default="",
    help="What draws the picture: one of the profile's generators, such as Identicon:render.",
)  # fmt: skip
@click.option("--privacy", type=click.Choice(["strict", "balanced", "off"]), help="Mode to show.")
@click.option("--profile", default="", help="ivatar, generic or module:NAME.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def routes(
    path: tuple[str, ...], method: str, privacy: str | None, profile: str, as_json: bool,
    **answer: Any,
) -> None:  # fmt: skip
    """Show how the URLs PATH... are classified: series, spans and their attributes.

    Nothing is sent. The hash of a digest is that of AVATAR_TELEMETRY_HASH_KEY, else one of its own.

    \b
    Examples:
      avatar-telemetry routes '/avatar/0bc83cb571cd1c50ba6f3e8a78ef1346?s=80' --cache miss
      avatar-telemetry routes -X POST --status 302 --location /accounts/profile/ /accounts/login/
      avatar-telemetry routes --privacy off '/stats/?x=1' /nothing
    """
    settings = Settings.from_env(
        {**os.environ, **({"AVATAR_TELEMETRY_PRIVACY": privacy} if privacy else {})}
    )
    chosen = load_chosen_profile(settings, profile)
    generator, cache = answer.pop("generator"), answer.pop("cache")
    if generator and generator not in chosen.generators:
        raise click.UsageError(_no_generator(generator, chosen))
    told = Answer(**answer, cache=cache or "", generator=generator)
    found = [rehearse(settings, chosen, method.upper(), _target(each), told) for each in path]
    if as_json:
        say_json([each.to_json() for each in found])
        return
    for each in found:
        _show(each)


def _no_generator(generator: str, profile: Profile) -> str:
    if not profile.generators:
        return f"--generator {generator}: the profile {profile.name} has none (--profile)"
    named = ", ".join(profile.generators)
    return f"--generator {generator}: the profile {profile.name} has no such generator, but {named}"


def _target(url: str) -> str:
    """Path and query of what may be a whole URL; a path may begin with two slashes."""
    if url.startswith(("http://", "https://")):
        parts = urlsplit(url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not url.startswith("/"):
        raise click.UsageError(f"{url!r} does not begin with /; give a path or a whole URL")
    return url.partition("#")[0]


def _show(found: Rehearsed) -> None:
    route = found.route
    say(click.style(found.target, bold=True))
    succeeded = "" if found.success is None else f", success={str(found.success).lower()}"
    say(
        f"  route  {route.template}  kind={route.kind}"
        + (f", operation={route.operation}" if route.operation else "")
        + succeeded
    )
    for line in found.series:
        say(f"  counts {line}")
    for span in found.spans:
        say(f"  span   {click.style(span['name'], fg='cyan')}")
        for name, value in span["attributes"].items():
            say(f"           {name} = {value}")
    if not found.spans:
        say("  span   none: OTEL_PYTHON_EXCLUDED_URLS leaves this URL out")
    say()
