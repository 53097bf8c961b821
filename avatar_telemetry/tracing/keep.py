"""The decision at the end of a recorded request: whether its spans are exported, and by which rule.

    keeper = Keeper(rules, sampling, budget.take)
    decision = keeper.decide(Ended("/avatar/{digest}", "200"), 0.004, trace_id)

The share that a kept request stands for is in the tracestate of its exported spans (OpenTelemetry,
TraceState: Probability Sampling, https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/):
``ot=th:f3333`` means that of ``0x100000`` such requests ``0xf3333`` were dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from avatar_telemetry.config.keeping import KeepRules
from avatar_telemetry.http.labels import SWITCHED
from avatar_telemetry.tracing.encoder import EMPTY, Block, encode_trace_state
from avatar_telemetry.tracing.sampling import WHOLE, Sampling

KEPT_BY = "avatar_telemetry.kept_by"
"""The attribute of the server span that names the rule."""
PARENT, LARGE = "parent", "large"
"""Names of decisions in addition to those of the settings: the caller had sampled the request, and
spans of it were written before its end."""
NEW_ROUTES, RATIO = "new_routes", "ratio"
MAX_SEEN = 4096
"""Pairs of route and status after which ``new_routes`` keeps no more requests."""
DIGITS = 14
"""Hexadecimal digits of a threshold and of the randomness that it is compared with."""
PRECISION = 4
"""Hexadecimal digits of a threshold, after its leading ``f``."""
_MEMBER = re.compile(r"th:[0-9a-f]{1,14}|rv:[0-9a-f]{14}")

Take = Callable[[int], bool]
"""Take one of so many tokens of the host in this second; see :class:`Budget`."""


class Ended(NamedTuple):
    """The end of recorded requests.

    Args:
        route: the template of the route.
        status: the status code of the response; empty if there was none.
        failed: whether it is an error of the server.
        auth_failed: whether it is a failed attempt to authenticate.
    """

    route: str
    status: str
    failed: bool = False
    auth_failed: bool = False


class Decision(NamedTuple):
    """The decision on a request.

    Args:
        kept: whether its spans and log records are exported.
        reason: the rule that keeps it, or the reason for which it is dropped.
        state: the encoded tracestate of its spans.
        block: the attributes of its server span.
    """

    kept: bool
    reason: str
    state: bytes = b""
    block: Block = EMPTY


KEPT = Decision(True, "")
"""The decision without rules."""
UNMATCHED = Decision(False, "unmatched")
OVER_BUDGET = Decision(False, "budget")


def matching_rule(rules: KeepRules, ended: Ended, duration: float) -> str | None:
    """Return the first of the rules ``errors``, ``slow`` and ``auth_failures`` that a request
    matches, or ``None``. The duration after a switch of protocols is that of a session.

    Args:
        rules: the rules.
        ended: the end of the request.
        duration: its duration in seconds.
    """
    if rules.errors and ended.failed:
        return "errors"
    limit = rules.slow
    for route, seconds in rules.slow_routes:
        if route == ended.route:
            limit = seconds
    if limit is not None and duration >= limit and ended.status != SWITCHED:
        return "slow"
    return "auth_failures" if rules.auth_failures and ended.auth_failed else None


class Keeper:
    """The decisions of one process.

    Args:
        rules: the rules.
        sampling: the sampler, which has sampled every request that is decided on.
        take: a function that takes a token of the budget.
    """

    def __init__(self, rules: KeepRules, sampling: Sampling, take: Take) -> None:
        self._rules = rules
        self._take = take
        self._seen: set[tuple[str, str]] = set()
        self._budget = rules.budget or 0
        # Failed and slow requests find tokens although the ratio alone would take all.
        self._ratio_budget = (self._budget + 1) // 2
        self._sampling = sampling
        self._head = sampling.threshold
        head = self._head or 0
        # A ratio of 1 keeps all that the sampler has sampled, whose threshold is not rounded.
        rounded = head if rules.ratio == 1 else threshold_of(rules.ratio * (1 - head / WHOLE))
        self._threshold = max(rounded, head)
        self._made: dict[str, Decision] = {}

    def decide(
        self, ended: Ended, duration: float, trace_id: bytes, caller: str | None = None
    ) -> Decision:
        """Return the decision on a request; one that is kept takes a token of the budget, unless
        its caller has sampled it.

        Args:
            ended: its end.
            duration: its duration in seconds.
            trace_id: the id of its trace.
            caller: the member ``ot`` of the tracestate of a caller who has sampled the trace;
                ``None`` without such a caller.
        """
        if caller is not None:
            return self.decide_early(trace_id, caller)
        rules = self._rules
        rule, route = matching_rule(rules, ended, duration), (ended.route, ended.status)
        if rule is None and rules.new_routes and self._is_new(route):
            rule = NEW_ROUTES
        threshold, limit = self._head, self._budget
        if rule is None:
            if not rules.ratio or self._sampling.randomness(trace_id) < self._threshold:
                return UNMATCHED
            rule, limit = RATIO, self._ratio_budget
            threshold = None if threshold is None else self._threshold
        if limit and not self._take(limit):
            return OVER_BUDGET
        if rule == NEW_ROUTES:
            self._seen.add(route)
        return self._kept(rule, threshold, trace_id)

    def decide_early(self, trace_id: bytes, caller: str | None) -> Decision:
        """Return the decision on a request that is kept whatever its outcome is.

        Args:
            trace_id: the id of its trace.
            caller: see :meth:`decide`.
        """
        if caller is None:
            return self._kept(LARGE, self._head, trace_id)
        members = {each[:2]: each for each in caller.split(";") if _MEMBER.fullmatch(each)}
        return kept_by(PARENT, ";".join(members.values()))

    def _kept(self, rule: str, threshold: int | None, trace_id: bytes) -> Decision:
        decision = self._made.get(rule)
        if decision is None:
            member = "" if threshold is None else f"th:{format_threshold(threshold)}"
            if self._sampling.is_explicit:
                member += f";rv:{self._sampling.randomness(trace_id):0{DIGITS}x}"
                return kept_by(rule, member)
            decision = self._made[rule] = kept_by(rule, member)
        return decision

    def _is_new(self, route: tuple[str, str]) -> bool:
        return route not in self._seen and len(self._seen) < MAX_SEEN


def kept_by(rule: str, member: str) -> Decision:
    """Return the decision to keep a request.

    Args:
        rule: the rule.
        member: the member ``ot`` of the tracestate; empty for none.
    """
    state = encode_trace_state(f"ot={member}") if member else b""
    return Decision(True, rule, state, Block((KEPT_BY,), (rule,)))


def threshold_of(share: float) -> int:
    """Return the threshold of a share, rounded to the digits that are exported.

    Args:
        share: the share of the traces that are kept, from 0 to 1.
    """
    exact = round((1 - share) * WHOLE)
    digits = f"{exact:0{DIGITS}x}"
    shown = len(digits) - len(digits.lstrip("f")) + PRECISION
    dropped = 4 * max(DIGITS - shown, 0)
    return exact + (1 << dropped >> 1) >> dropped << dropped


def format_threshold(threshold: int) -> str:
    """Return a threshold as in a tracestate: hexadecimal, without trailing zeros."""
    return f"{threshold:0{DIGITS}x}".rstrip("0") or "0"
