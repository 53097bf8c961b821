"""Texts of a collector as they are logged."""

from __future__ import annotations

from avatar_telemetry.exporter.foreign import MAX_TEXT, NOT_SHOWN, Secrets, one_line


def test_one_line() -> None:
    """Lines are joined, unprintable characters replaced, and the length is bounded."""
    assert one_line("a\r\n b\x1b[31m\u202e") == "a b?[31m?"
    assert len(one_line("x" * 50_000)) == MAX_TEXT
    assert one_line("word " * 10, 9) == "word word"


def test_whole_secrets() -> None:
    """A secret is replaced wherever it occurs, the longer one first."""
    secrets = Secrets(["abcd", "abcdefg", "x=1"])
    assert secrets.redact("abcdefg, zabcdz") == f"{NOT_SHOWN}, z{NOT_SHOWN}z"
    assert secrets.redact("x=1 stays: too short") == "x=1 stays: too short"


def test_part_of_a_secret() -> None:
    """A collector may return a header in pieces; eight characters of it are not logged."""
    secrets = Secrets(["Bearer abcdefghijklmnop"])
    assert secrets.redact("token cdefghijk is unknown") == f"token {NOT_SHOWN} is unknown"
    assert secrets.redact("cdefghi") == "cdefghi"
