"""A bounded cache: a dictionary that computes missing values.

memo = Memo(lambda text: text.encode(), 1024)
memo["key"]                                  # computed at the first lookup
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Memo(dict[Key, Value], Generic[Key, Value]):
    """Keep the values of recently used keys.

    When the newer half is full, it becomes the older half, and a value that is used again moves to
    the newer half: least recently used values are dropped, at the cost of a plain dictionary.

    Args:
        make: a function that computes the value of a key. Its exceptions are not caught.
        size: the number of values in each half.
        keeps: a function that returns whether the value of a key is kept.
    """

    __slots__ = ("_keeps", "_make", "_older", "_size", "misses")

    def __init__(
        self, make: Callable[[Key], Value], size: int, keeps: Callable[[Key], bool] | None = None
    ) -> None:
        super().__init__()
        self._make = make
        self._keeps = keeps
        self._size = size
        self._older: dict[Key, Value] = {}
        self.misses = 0
        """The number of computed values."""

    def __missing__(self, key: Key) -> Value:
        older = self._older
        if key in older:
            value = older[key]
        else:
            value = self._make(key)
            self.misses += 1
            if self._keeps is not None and not self._keeps(key):
                return value
        if len(self) >= self._size:
            self._older = dict(self)
            self.clear()
        self[key] = value
        return value
