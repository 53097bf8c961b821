"""The rules of ``AVATAR_TELEMETRY_KEEP``, and the messages about those that cannot be used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry.config.keeping import FLAGS, KeepRules, keep_rules
from avatar_telemetry.config.parsing import ExplainedError
from avatar_telemetry.config.settings import Settings

WHOLE = "errors, slow:1s, slow:/avatar/{digest}:250ms, auth_failures, new_routes, ratio:0.05, budget:50/s"  # noqa: E501


def test_all_rules() -> None:
    """Each rule is one field; the order and blanks do not matter."""
    expected = KeepRules(
        errors=True, slow=1.0, slow_routes=(("/avatar/{digest}", 0.25),), auth_failures=True,
        new_routes=True, ratio=0.05, budget=50,
    )  # fmt: skip
    assert keep_rules(WHOLE) == expected
    assert keep_rules(",".join(reversed(WHOLE.replace(" ", "").split(",")))) == expected


def test_unset_is_none() -> None:
    """Without the variable every recorded request is exported."""
    assert Settings.from_env({}).keep is None
    assert keep_rules(" ") is None


def test_a_route_may_contain_a_colon() -> None:
    """The duration follows the last one."""
    assert keep_rules("slow:/users/<int:id>:2s") == KeepRules(
        slow_routes=(("/users/<int:id>", 2.0),)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("erors", "'erors': unknown rule; did you mean errors?", id="typo"),
        pytest.param("x", "'x': no rule; use errors, auth_failures", id="unknown"),
        pytest.param("errors,errors", "'errors': errors is given twice; remove one", id="twice"),
        pytest.param("slow:1s,slow:2s", "'slow:2s': slow is given twice", id="slow twice"),
        pytest.param("slow:/a:1s,slow:/a:2s", "'slow:/a:2s': slow is given twice", id="routes"),
        pytest.param("errors:5xx", "'errors:5xx': errors has no argument; write errors", id="flag"),
        pytest.param("errors:", "'errors:': errors has no argument", id="empty argument"),
        pytest.param("slow", "'slow': needs a duration from 1ms to 3600s", id="no duration"),
        pytest.param("slow:1", "'slow:1': needs a duration", id="no unit"),
        pytest.param("slow:0", "'slow:0': needs a duration", id="zero"),
        pytest.param("slow:2h", "'slow:2h': needs a duration", id="hours"),
        pytest.param("slow:/a", "'slow:/a': needs a duration", id="route without duration"),
        pytest.param("slow:a:1s", "'slow:a:1s': a route is its template", id="no path"),
        pytest.param("ratio:5%", "'ratio:5%': needs a share from 0.000001 to 1", id="percent"),
        pytest.param("ratio:0", "'ratio:0': needs a share", id="no share"),
        pytest.param("ratio:nan", "'ratio:nan': needs a share", id="not a number"),
        pytest.param("errors,budget:50", "'budget:50': needs requests a second", id="no period"),
        pytest.param("errors,budget:0/s", "'budget:0/s': needs requests a second", id="no budget"),
        pytest.param("budget:50/s", "'budget:50/s': keeps nothing; add errors", id="budget alone"),
        pytest.param(",", "',': keeps nothing", id="no rule"),
    ],
)  # fmt: skip
def test_a_fault_names_the_rule_and_the_fix(text: str, message: str) -> None:
    """The start fails with the variable, the rule and what to write instead."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({"AVATAR_TELEMETRY_KEEP": text})
    assert str(raised.value).count("AVATAR_TELEMETRY_KEEP=") == 1
    assert message in str(raised.value)


def test_all_faults_are_named() -> None:
    """One message has every rule that cannot be used."""
    with pytest.raises(ExplainedError) as raised:
        keep_rules("erors, ratio:2, slow:1s")
    assert "'erors'" in str(raised.value)
    assert "'ratio:2'" in str(raised.value)
    assert "slow" not in str(raised.value)


SECONDS = st.integers(1, 3_600_000).map(lambda ms: ms / 1000)
ROUTES = st.from_regex(r"/[a-z{}:/<>]{0,9}", fullmatch=True)
RULES = st.builds(
    KeepRules, st.booleans(), st.none() | SECONDS,
    st.dictionaries(ROUTES, SECONDS, max_size=3).map(lambda routes: tuple(routes.items())),
    st.booleans(), st.booleans(), st.just(0.0) | st.integers(1, 10**6).map(lambda n: n / 10**6),
    st.none() | st.integers(1, 100_000),
)  # fmt: skip


def text_of(rules: KeepRules) -> str:
    """The text of rules."""
    parts = [name for name in FLAGS if getattr(rules, name)]
    parts += [f"slow:{rules.slow * 1000:f}ms"] if rules.slow is not None else []
    parts += [f"slow:{route}:{seconds * 1000:f}ms" for route, seconds in rules.slow_routes]
    parts += [f"ratio:{rules.ratio:f}"] if rules.ratio else []
    parts += [f"budget:{rules.budget}/s"] if rules.budget else []
    return ", ".join(parts)


@given(RULES)
def test_rules_survive_their_text(rules: KeepRules) -> None:
    """Any combination that keeps something is parsed as it is written."""
    text = text_of(rules)
    if not text or text == f"budget:{rules.budget}/s":
        return
    parsed = keep_rules(text)
    assert parsed is not None
    assert parsed.slow == pytest.approx(rules.slow)
    assert dict(parsed.slow_routes) == pytest.approx(dict(rules.slow_routes))
    for name in (*FLAGS, "ratio", "budget"):
        assert getattr(parsed, name) == getattr(rules, name)


@given(st.text(max_size=30) | st.lists(st.sampled_from([*WHOLE.split(", "), "slow:", ":", "1s"])).map(",".join))  # fmt: skip  # noqa: E501
def test_any_text_is_parsed_or_explained(text: str) -> None:
    """No text of an operator has another result than rules or an explanation."""
    try:
        rules = keep_rules(text)
    except ExplainedError as error:
        assert str(error)
    else:
        assert rules is None or rules != KeepRules(budget=rules.budget)
