"""Hashed passwords."""

from avatar_demo.sessions import check_password, hash_password


def test_passwords():
    """Only the password itself fits its hash, which is another one each time."""
    hashed = hash_password("pässword")
    assert check_password("pässword", hashed)
    assert not check_password("password", hashed)
    assert hashed != hash_password("pässword")
