"""Blocks: attributes that are encoded once for many spans."""

from __future__ import annotations

from typing import Any

from avatar_telemetry.tracing.encoder import encode_attributes


class Block:
    """Some attributes of a span, with their encoding.

    Args:
        keys: the names of the attributes.
        values: plain values (str, int, bool, float) within the limits; ``None`` is absent.

    Attributes:
        data: the encoded attributes.
    """

    __slots__ = ("data", "keys", "values")

    def __init__(self, keys: tuple[str, ...], values: tuple[Any, ...]) -> None:
        self.keys = keys
        self.values = values
        self.data = encode_attributes(keys, values)


EMPTY = Block((), ())
