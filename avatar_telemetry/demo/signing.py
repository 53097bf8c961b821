"""Signed tokens and hashed passwords."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

COST = (2**14, 8, 1)
SCRYPT_MEMORY = 64 * 1024 * 1024


class Signer:
    """Signs text, each kind of it with a key of its own.

    Args:
        secret: the same in all workers.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def mac(self, kind: str, *parts: str) -> str:
        """The signature of some parts, which may hold any character."""
        key = hmac.digest(self._secret, kind.encode(), "sha256")
        message = "".join(f"{len(part)}:{part}" for part in parts)
        digest = hmac.digest(key, message.encode("utf-8", "surrogatepass"), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def sign(self, kind: str, text: str) -> str:
        """Text with its signature behind it."""
        return f"{text}.{self.mac(kind, text)}"

    def unsign(self, kind: str, signed: str) -> str | None:
        """The text that ``sign`` was given, ``None`` where somebody else wrote it."""
        text, _, mac = signed.rpartition(".")
        return text if same(mac, self.mac(kind, text)) else None


def same(one: str, other: str) -> bool:
    """Compare two texts in a time that tells nothing about them."""
    return hmac.compare_digest(
        one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass")
    )


def hash_password(password: str) -> str:
    """A salted scrypt hash of a password, with its cost."""
    salt = secrets.token_bytes(16)
    cost = "$".join(map(str, COST))
    return f"scrypt${cost}${salt.hex()}${_scrypt(password, salt, *COST)}"


def check_password(password: str, hashed: str) -> bool:
    """Whether ``hashed`` was made of this password."""
    _, n, r, p, salt, digest = hashed.split("$")
    return same(_scrypt(password, bytes.fromhex(salt), int(n), int(r), int(p)), digest)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> str:
    text = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=SCRYPT_MEMORY).hex()
