"""The decision on a request: its rules, the share that it stands for, and the budget."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from avatar_telemetry.config.keeping import KeepRules
from avatar_telemetry.tracing.keep import (
    KEPT_BY,
    MAX_SEEN,
    Decision,
    Ended,
    Keeper,
    format_threshold,
    threshold_of,
)
from avatar_telemetry.tracing.sampling import WHOLE, Sampling, make_sampling
from tests.unit.config.test_keeping import RULES

ALWAYS = make_sampling("parentbased_always_on", "")
TRACE_IDS = st.binary(min_size=16, max_size=16)
TEMPLATES = ["/avatar/{digest}", "/", "other"]
ENDED = st.builds(
    Ended, st.sampled_from(TEMPLATES), st.sampled_from(["200", "404", "500", "101", ""]),
    st.booleans(), st.booleans(),
)  # fmt: skip
Request = tuple[Ended, float, bytes, "str | None"]


def ended(
    *, trace_id: bytes = bytes(16), duration: float = 0.1, caller: str | None = None, **ends: Any
) -> Request:
    """A request that matches no rule; its trace has the lowest randomness."""
    return Ended(**{"route": "/", "status": "200", **ends}), duration, trace_id, caller


def decider(rules: KeepRules, sampling: Sampling = ALWAYS, take: Any = bool) -> Any:
    """The decision on a request, as a function."""
    made = Keeper(rules, sampling, take)
    return lambda request: made.decide(*request)


def keeper(rules: KeepRules, sampler: str = "parentbased_always_on", argument: str = "") -> Keeper:
    return Keeper(rules, make_sampling(sampler, argument), lambda limit: True)


def trace_state(decision: Decision) -> dict[str, str]:
    """The parts of the member ``ot`` that the spans are exported with."""
    text = Span.FromString(decision.state).trace_state
    assert not text or text.startswith("ot=")
    return dict(part.split(":") for part in text[3:].split(";") if part)


def threshold_in(decision: Decision) -> int:
    return int(trace_state(decision)["th"].ljust(14, "0"), 16)


@pytest.mark.parametrize(
    ("rules", "changes", "reason"),
    [
        pytest.param(KeepRules(errors=True), {"failed": True}, "errors", id="error"),
        pytest.param(KeepRules(errors=True), {}, "", id="no error"),
        pytest.param(KeepRules(slow=1.0), {"duration": 1.0}, "slow", id="slow"),
        pytest.param(KeepRules(slow=1.0), {"duration": 0.999}, "", id="fast"),
        pytest.param(KeepRules(slow=1.0), {"duration": 9, "status": "101"}, "", id="a session"),
        pytest.param(KeepRules(slow_routes=(("/", 0.05),)), {}, "slow", id="slow route"),
        pytest.param(KeepRules(slow_routes=(("/", 0.05),)), {"route": "/x"}, "", id="other"),
        pytest.param(
            KeepRules(slow=0.05, slow_routes=(("/", 5.0),)), {}, "", id="the route's own duration"
        ),
        pytest.param(
            KeepRules(auth_failures=True), {"auth_failed": True}, "auth_failures", id="login"
        ),
        pytest.param(KeepRules(auth_failures=True), {}, "", id="no login"),
        pytest.param(KeepRules(new_routes=True), {}, "new_routes", id="new"),
        pytest.param(KeepRules(ratio=1.0), {}, "ratio", id="all"),
        pytest.param(KeepRules(ratio=0.99), {}, "", id="the lowest randomness"),
        pytest.param(KeepRules(ratio=0.000001), {"trace_id": b"\xff" * 16}, "ratio", id="highest"),
        pytest.param(KeepRules(errors=True), {"caller": ""}, "parent", id="the caller sampled"),
        pytest.param(
            KeepRules(errors=True, slow=0.01), {"failed": True}, "errors", id="the first rule"
        ),
    ],
)  # fmt: skip
def test_rules(rules: KeepRules, changes: dict[str, Any], reason: str) -> None:
    """A request is kept by the first rule that it matches, which its server span names."""
    decision = decider(rules)(ended(**changes))
    assert (decision.kept, decision.reason) == (bool(reason), reason or "unmatched")
    assert (KEPT_BY in decision.block.keys) == bool(reason)
    if reason:
        assert decision.block.values == (reason,)


def test_a_route_is_new_once() -> None:
    """The first request of each route and status is kept; a bound protects the memory."""
    decide = decider(KeepRules(new_routes=True))
    kinds = [ended(), ended(status="404"), ended(route="/x")]
    assert [decide(each).kept for each in [*kinds, *kinds]] == [True] * 3 + [False] * 3
    for number in range(MAX_SEEN):
        decide(ended(route=f"/{number}"))
    assert not decide(ended(route="/later")).kept


@given(RULES, ENDED, st.floats(0, 10), TRACE_IDS)
def test_any_request_is_kept_by_the_rules(
    rules: KeepRules, request: Ended, duration: float, trace_id: bytes
) -> None:
    """The decision is that of the rules in words, and what is dropped has nothing to export."""
    limit = dict(rules.slow_routes).get(request.route, rules.slow)
    certain = {
        "errors": rules.errors and request.failed,
        "slow": limit is not None and duration >= limit and request.status != "101",
        "auth_failures": rules.auth_failures and request.auth_failed,
        "new_routes": rules.new_routes,
    }
    randomness = int.from_bytes(trace_id[-7:], "big")
    by_ratio = bool(rules.ratio) and randomness >= threshold_of(rules.ratio)
    decision = keeper(rules).decide(request, duration, trace_id)
    assert decision.kept == (any(certain.values()) or by_ratio)
    if not decision.kept:
        assert (decision.state, decision.block.data) == (b"", b"")
    elif decision.reason == "ratio":
        assert not any(certain.values())
        assert threshold_in(decision) == threshold_of(rules.ratio) <= randomness
    else:
        assert decision.reason == next(name for name, matches in certain.items() if matches)
        assert trace_state(decision) == {"th": "0"}


@given(st.floats(0.000001, 1))
def test_the_threshold_is_the_ratio(ratio: float) -> None:
    """The exported digits have the value that decides, and the share is that of the setting."""
    threshold = threshold_of(ratio)
    text = format_threshold(threshold)
    assert int(text.ljust(14, "0"), 16) == threshold < WHOLE
    assert text == "0" or text[-1] != "0"
    assert 1 - threshold / WHOLE == pytest.approx(ratio, rel=0.001, abs=1 / 65536)


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        pytest.param(1.0, "0", id="all"),
        pytest.param(0.5, "8", id="half"),
        pytest.param(0.05, "f3333", id="five percent"),
        pytest.param(0.01, "fd70a", id="one percent"),
        pytest.param(0.000001, "ffffef39", id="one in a million"),
    ],
)
def test_thresholds(ratio: float, text: str) -> None:
    """The values of the specification's examples."""
    assert format_threshold(threshold_of(ratio)) == text


@pytest.mark.parametrize("ratio", [1.0, 0.5, 0.3, 0.05])
def test_kept_requests_stand_for_all(ratio: float) -> None:
    """Over evenly spread traces, the counts of those that are kept add up to their number."""
    decide, number = decider(KeepRules(errors=True, ratio=ratio)), 4096
    counted = 0.0
    for each in range(number):
        trace_id = bytes(9) + (each * WHOLE // number).to_bytes(7, "big")
        decision = decide(ended(trace_id=trace_id, failed=each % 100 == 0))
        if decision.kept:
            counted += WHOLE / (WHOLE - threshold_in(decision))
    assert counted == pytest.approx(number, abs=2 / ratio)


@given(TRACE_IDS, st.floats(0.001, 1), st.floats(0.001, 1))
def test_a_ratio_of_the_sampler_and_one_of_the_rules(
    trace_id: bytes, head: float, ratio: float
) -> None:
    """Of the sampled traces the ratio is kept; the exported randomness is that of the decision, and
    the threshold is the product of both shares."""
    sampling = make_sampling("traceidratio", str(head))
    if not sampling.decide(trace_id, None):
        assert sampling.randomness(trace_id) < (sampling.threshold or 0) + 1
        return
    decide = decider(KeepRules(errors=True, ratio=ratio), sampling, lambda limit: True)
    failed, other = decide(ended(trace_id=trace_id, failed=True)), decide(ended(trace_id=trace_id))
    for decision in filter(lambda each: each.kept, (failed, other)):
        parts = trace_state(decision)
        randomness = int(parts["rv"], 16) if "rv" in parts else int.from_bytes(trace_id[-7:], "big")
        share = head * ratio if decision.reason == "ratio" else head
        assert threshold_in(decision) <= randomness
        assert 1 - threshold_in(decision) / WHOLE == pytest.approx(share, rel=0.001, abs=1 / 65536)
    assert failed.kept
    assert other.kept == (sampling.randomness(trace_id) >= threshold_of_both(head, ratio))


def threshold_of_both(head: float, ratio: float) -> int:
    sampling = make_sampling("traceidratio", str(head))
    first = sampling.threshold or 0
    return max(threshold_of(ratio * (1 - first / WHOLE)), first)


def test_a_ratio_of_the_sampler_leaves_the_rest_to_the_rules() -> None:
    """The two ratios are independent: of a thousandth, a half is kept."""
    sampling = make_sampling("traceidratio", "0.001")
    decide = decider(KeepRules(ratio=0.5), sampling, lambda limit: True)
    bound = int(0.001 * 2**64)
    ids = [bytes(8) + (bound * each // 1000).to_bytes(8, "big") for each in range(1000)]
    assert all(sampling.decide(each, None) for each in ids)
    assert sum(decide(ended(trace_id=each)).kept for each in ids) == pytest.approx(500, abs=2)


@pytest.mark.parametrize(
    ("member", "kept"),
    [
        pytest.param("th:8", {"th": "8"}, id="threshold"),
        pytest.param("rv:0123456789abcd;th:c", {"rv": "0123456789abcd", "th": "c"}, id="both"),
        pytest.param("p:3;th:8;x:anna", {"th": "8"}, id="others are left out"),
        pytest.param("th:anna@example.org", {}, id="no threshold"),
        pytest.param("th:" + "1" * 15 + ";rv:12", {}, id="wrong lengths"),
        pytest.param("", {}, id="none"),
    ],
)
def test_the_share_of_a_caller(member: str, kept: dict[str, str]) -> None:
    """A trace that the caller has sampled stands for as many as the caller states, in numbers."""
    decision = keeper(KeepRules(errors=True), "traceidratio", "0.5").decide(*ended(caller=member))
    assert decision.reason == "parent"
    assert trace_state(decision) == kept
    assert keeper(KeepRules(errors=True)).decide_early(bytes(16), member).reason == "parent"


def test_a_sampler_of_another_package() -> None:
    """Its share is unknown, so that none is exported; the ratio uses other bits of the trace id."""
    sampling = make_sampling("always_on", "")
    other = type(sampling)(sampling.sampler)
    decide = decider(KeepRules(errors=True, ratio=0.5), other, lambda limit: True)
    low, high = b"\0" + b"\0" * 7 + b"\xff" * 8, b"\0" + b"\xff" * 7 + b"\0" * 8
    assert [decide(ended(trace_id=each)).kept for each in (low, high)] == [False, True]
    assert decide(ended(trace_id=high)).state == b""
    assert decide(ended(failed=True)).state == b""


def test_what_takes_of_the_budget() -> None:
    """Each kept request but that of a caller takes a token; the ratio gets half of them."""
    limits: list[int] = []

    def take(limit: int) -> bool:
        limits.append(limit)
        return len(limits) < 4

    rules = KeepRules(errors=True, ratio=0.5, budget=5)
    decide = decider(rules, ALWAYS, take)
    by_ratio = ended(trace_id=b"\xff" * 16)
    assert decide(ended(failed=True)).kept
    assert decide(by_ratio).kept
    assert not decide(ended()).kept
    assert decide(ended(caller="")).kept
    assert limits == [5, 3]
    decide(ended(failed=True))
    for request in (ended(failed=True), by_ratio):
        assert decide(request) == Decision(False, "budget")
    assert limits == [5, 3, 5, 5, 3]


def test_without_a_budget_no_token_is_taken() -> None:
    """Nothing is shared between processes then."""
    decide = decider(KeepRules(errors=True), ALWAYS, lambda limit: False)
    assert decide(ended(failed=True)).kept


def test_a_new_route_without_a_token_is_still_new() -> None:
    """The next request of the route is kept, when there are tokens."""
    tokens = iter([False, True])
    decide = decider(KeepRules(new_routes=True, budget=5), take=lambda limit: next(tokens))
    assert [decide(ended()).reason for _ in range(3)] == ["budget", "new_routes", "unmatched"]


@pytest.mark.parametrize("share", ["0.15", "0.3", "1"])
def test_a_ratio_of_one_keeps_all_that_the_sampler_has_sampled(share: str) -> None:
    """Its threshold is that of the sampler, not a rounded one."""
    made = keeper(KeepRules(ratio=1.0), "traceidratio", share)
    assert made._threshold == made._head
