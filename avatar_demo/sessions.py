"""Passwords, and sessions in the database with their tokens in signed cookies."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from functools import cache

from sqlalchemy import delete, select

from avatar_demo.models import Login, User, sha256_digest
from avatar_demo.site import Site

SESSION_SECONDS = 14 * 24 * 3600
COST = (2**14, 8, 1)
SCRYPT_MEMORY = 64 * 1024 * 1024


def open_session(site: Site, user: User) -> str:
    """Start a session and return its cookie value."""
    token, now = secrets.token_urlsafe(32), int(time.time())
    expires = now + SESSION_SECONDS
    with site.database.begin() as db:
        db.execute(delete(Login).where(Login.expires < now))
        db.add(Login(token_digest=sha256_digest(token), user_id=user.id, expires=expires))
    return site.sign("session", token)


def find_user(site: Site, cookie: str) -> User | None:
    """Return the user of a cookie value, if its session is still open."""
    token = site.unsign("session", cookie)
    if token is None:
        return None
    query = (
        select(User)
        .join(Login, Login.user_id == User.id)
        .where(Login.token_digest == sha256_digest(token), Login.expires > int(time.time()))
    )
    with site.database() as db:
        return db.scalar(query)


def close_session(site: Site, cookie: str) -> None:
    """End the session of a cookie value, also for copies of the cookie."""
    token = site.unsign("session", cookie)
    if token is not None:
        with site.database.begin() as db:
            db.execute(delete(Login).where(Login.token_digest == sha256_digest(token)))


def authenticate(site: Site, username: str, password: str) -> User | None:
    """Return the user with a name, if the password is right."""
    with site.database() as db:
        user = db.scalar(select(User).where(User.username == username))
    # An unknown name takes as long as a wrong password.
    is_right = check_password(password, user.password if user else _unknown())
    return user if is_right else None


def set_password(site: Site, user: User, password: str) -> None:
    """Set a new password, which ends all sessions of the user."""
    with site.database.begin() as db:
        db.get_one(User, user.id).password = hash_password(password)
        db.execute(delete(Login).where(Login.user_id == user.id))


def hash_password(password: str) -> str:
    """Return a salted scrypt hash of a password, with its cost."""
    salt = secrets.token_bytes(16)
    return "$".join(["scrypt", *map(str, COST), salt.hex(), _scrypt(password, salt, *COST)])


def check_password(password: str, hashed: str) -> bool:
    """Return whether ``hashed`` is a hash of the password."""
    _, n, r, p, salt, digest = hashed.split("$")
    found = _scrypt(password, bytes.fromhex(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, digest)


@cache
def _unknown() -> str:
    return hash_password("")


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> str:
    text = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=SCRYPT_MEMORY).hex()
