"""The bounded memo: what is asked for again stays, what is not is forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry._base.memo import Memo


@given(st.lists(st.integers(0, 9)), st.integers(1, 4))
def test_every_value_is_right_and_few_are_kept(keys: list[int], size: int) -> None:
    """Whatever is asked for, in whatever order."""
    memo = Memo(str, size)
    for key in keys:
        assert memo[key] == str(key)
        assert len(memo) <= size
        assert len(memo._older) <= size


def test_a_value_is_made_once_while_it_is_asked_for() -> None:
    """A key that comes again stays, however many others come in between."""
    memo = Memo(str, 4)
    for number in range(100):
        assert memo[-1] == "-1"
        assert memo[number] == str(number)
    assert memo.misses == 101


def test_what_is_not_worth_a_place() -> None:
    """Its value is made each time."""
    memo = Memo(str, 4, lambda key: key < 10)
    assert [memo[10], memo[10], memo[1], memo[1]] == ["10", "10", "1", "1"]
    assert memo.misses == 3
    assert list(memo) == [1]


def test_a_value_that_cannot_be_made() -> None:
    """An exception of the function passes, and nothing is kept."""
    memo = Memo(int, 4)
    with pytest.raises(ValueError, match="x"):
        memo["x"]
    assert not memo
