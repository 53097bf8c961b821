"""The common part of the memcached probes: a span per operation, and hit or miss of a lookup.

Keys are URLs with digests: neither they nor values are recorded, in any privacy mode.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import trace

from avatar_telemetry.probes.policy import POLICY

OPERATIONS = (
    "set", "set_many", "set_multi", "add", "replace", "append", "prepend", "cas", "get", "get_many",
    "get_multi", "gets", "gets_many", "delete", "delete_many", "delete_multi", "incr", "decr",
    "touch", "stats", "version", "flush_all",
)  # fmt: skip
ONE = ("get", "gets")
MANY = ("get_many", "get_multi", "gets_many")
PREFIX = "memcached."


def no_statement(text: str) -> str:
    """Return an empty text: the span's name has the command, and the rest is keys and values."""
    return ""


def found(operation: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool | None:
    """Return whether a lookup was a hit; ``None`` for any other operation.

    Args:
        operation: the operation, one of :data:`OPERATIONS`.
        value: the returned value.
        args: the positional arguments, from the key on.
        kwargs: the keyword arguments.
    """
    if operation in MANY:
        return bool(value)
    if operation not in ONE:
        return None
    if operation == "gets" and isinstance(value, tuple):
        value = value[0]
    default = args[1] if len(args) > 1 else kwargs.get("default")
    return value is not default


def record_hit(operation: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Set hit or miss on the current span. Never raises."""
    try:
        hit = found(operation, value, args, kwargs)
        if hit is not None:
            trace.get_current_span().set_attribute("ivatar.cache.hit", hit)
    except Exception:  # noqa: BLE001 - the application has its value
        POLICY.guard.failed("probe_memcached")
