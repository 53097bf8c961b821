"""Signed tokens and hashed passwords of the demo."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.demo.signing import Signer, check_password, hash_password, same

SIGNER = Signer(b"secret")
PARTS = st.lists(st.text(max_size=8), max_size=4)


@given(st.text())
def test_signed_text_comes_back(text: str) -> None:
    """A signed text is the one that was signed, whatever it holds."""
    assert SIGNER.unsign("kind", SIGNER.sign("kind", text)) == text


@given(st.text(), st.text())
def test_no_other_text_is_signed(text: str, other: str) -> None:
    """The signature of a text is not that of another one, of another kind, or of another key."""
    signed = SIGNER.sign("kind", text)
    mac = signed.rpartition(".")[2]
    assert (SIGNER.unsign("kind", f"{other}.{mac}") is None) is (text != other)
    assert SIGNER.unsign("other kind", signed) is None
    assert Signer(b"other secret").unsign("kind", signed) is None


@given(st.text())
def test_what_was_never_signed(text: str) -> None:
    """Any text from a client is refused without an error."""
    assert SIGNER.unsign("kind", text) is None


@given(PARTS, PARTS)
def test_parts_cannot_be_cut_elsewhere(parts: list[str], others: list[str]) -> None:
    """Parts that make the same text together have different signatures."""
    assert (SIGNER.mac("kind", *parts) == SIGNER.mac("kind", *others)) is (parts == others)
    assert SIGNER.mac("kind", "a", "b") != SIGNER.mac("kind", "ab")


def test_passwords() -> None:
    """Only the password itself fits its hash, which is another one each time."""
    hashed = hash_password("pässword")
    assert check_password("pässword", hashed)
    assert not check_password("password", hashed)
    assert hashed != hash_password("pässword")


@given(st.text(), st.text())
def test_texts_are_compared(one: str, other: str) -> None:
    """Any two texts can be compared, also those that no encoding has."""
    assert same(one, other) is (one == other)
    assert same("\udc80", "\udc80")
