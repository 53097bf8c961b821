"""What the probes of memcached share: a span for an operation, and hit or miss of a look-up.

Keys are URLs with digests in them, here: neither they nor values are told, in any privacy mode.
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
    """What is told of a command: its name is the span's, and the rest is keys and values."""
    return ""


def found(operation: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool | None:
    """Whether a look-up found something; ``None`` where an operation is none.

    Args:
        operation: one of :data:`OPERATIONS`.
        value: what it returned.
        args: of the call, from the key on.
        kwargs: of the call.
    """
    if operation in MANY:
        return bool(value)
    if operation not in ONE:
        return None
    if operation == "gets" and isinstance(value, tuple):
        value = value[0]
    default = args[1] if len(args) > 1 else kwargs.get("default")
    return value is not default


def note_hit(operation: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Put hit or miss on the current span. Never raises."""
    try:
        hit = found(operation, value, args, kwargs)
        if hit is not None:
            trace.get_current_span().set_attribute("ivatar.cache.hit", hit)
    except Exception:  # noqa: BLE001 - the application has its value
        POLICY.guard.failed("probe_memcached")
