"""The rules of ``AVATAR_TELEMETRY_KEEP``: which recorded requests are exported.

errors, slow:1s, slow:/avatar/{digest}:250ms, auth_failures, new_routes, ratio:0.05, budget:50/s
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from avatar_telemetry.config import parsing

FLAGS = ("errors", "auth_failures", "new_routes")
"""The rules without an argument."""
NAMES = (*FLAGS, "slow", "ratio", "budget")
MIN_RATIO = 0.000001
MAX_BUDGET = 100_000
ALLOWED = (
    "a comma-separated list of errors, slow:1s, slow:/route:250ms, auth_failures, new_routes,"
    " ratio:0.05, budget:50/s"
)
_DURATION = parsing.duration(0.001, 3600)
_BUDGET = re.compile(r"([0-9]{1,6})/s", re.ASCII)


@dataclass(frozen=True)
class KeepRules:
    """The rules, each of which keeps the requests that match it.

    Args:
        errors: whether failed requests are kept.
        slow: the seconds from which on a request is kept; ``None``: a duration keeps none.
        slow_routes: pairs of a route's template and its seconds, which replace ``slow`` there.
        auth_failures: whether failed attempts to authenticate are kept.
        new_routes: whether the first request of each route and status in a process is kept.
        ratio: the share of all other requests that is kept.
        budget: the maximum number of requests that a host keeps in a second; ``None``: no limit.
    """

    errors: bool = False
    slow: float | None = None
    slow_routes: tuple[tuple[str, float], ...] = ()
    auth_failures: bool = False
    new_routes: bool = False
    ratio: float = 0.0
    budget: int | None = None


def keep_rules(text: str) -> KeepRules | None:
    """Parse ``AVATAR_TELEMETRY_KEEP``.

    Args:
        text: rules, comma-separated; empty: ``None``, every recorded request is exported.

    Raises:
        ExplainedError: a rule is unknown, repeated or has an invalid argument, or no request would
            be kept. The message names each such rule and its fix.
    """
    if not text.strip():
        return None
    values: dict[str, object] = {}
    routes: dict[str, float] = {}
    faults: list[str] = []
    for rule in filter(None, map(str.strip, text.split(","))):
        name, _, argument = rule.partition(":")
        try:
            if name == "slow" and ":" in argument:
                route, _, duration = argument.rpartition(":")
                _refuse_repeated(route in routes, rule)
                routes[_route(route)] = _seconds(duration)
                continue
            _refuse_repeated(name in values, rule)
            values[name] = _value(name, argument, rule)
        except ValueError as error:
            faults.append(f"{rule!r}: {error}")
    if not faults and not (values.keys() - {"budget"} or routes):
        faults.append(f"{text.strip()!r}: keeps nothing; add errors or ratio:0.05")
    if faults:
        raise parsing.ExplainedError("; ".join(faults))
    return KeepRules(slow_routes=tuple(routes.items()), **values)  # type: ignore[arg-type]


def _refuse_repeated(is_repeated: bool, rule: str) -> None:
    if is_repeated:
        raise ValueError(f"{rule.partition(':')[0]} is given twice; remove one")


def _value(name: str, argument: str, rule: str) -> object:
    if name in FLAGS:
        if rule != name:
            raise ValueError(f"{name} has no argument; write {name}")
        return True
    if name == "slow":
        return _seconds(argument)
    if name == "ratio":
        return _ratio(argument)
    if name == "budget":
        return _budget(argument)
    near = difflib.get_close_matches(name, NAMES, n=1)
    raise ValueError(
        f"unknown rule; did you mean {near[0]}?" if near else f"no rule; use {', '.join(NAMES)}"
    )


def _route(text: str) -> str:
    if not text.startswith("/") and text != "other":
        raise ValueError("a route is its template, such as /avatar/{digest}, or other")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = _DURATION(text)
    except ValueError:
        seconds = 0.0
    if not seconds:
        raise ValueError("needs a duration from 1ms to 3600s, such as slow:1s or slow:/route:250ms")
    return seconds


def _ratio(text: str) -> float:
    try:
        return parsing.number(MIN_RATIO, 1)(text)
    except ValueError:
        raise ValueError(f"needs a share from {MIN_RATIO:f} to 1, such as ratio:0.05") from None


def _budget(text: str) -> int:
    found = _BUDGET.fullmatch(text)
    if found is None or not 0 < int(found[1]) <= MAX_BUDGET:
        raise ValueError(f"needs requests a second from 1 to {MAX_BUDGET}, such as budget:50/s")
    return int(found[1])
