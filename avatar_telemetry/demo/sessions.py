"""Who is logged in: sessions in the database, their tokens in signed cookies."""

from __future__ import annotations

import secrets
import time
from functools import cached_property

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, sessionmaker

from avatar_telemetry.demo.models import Login, User, sha256_digest
from avatar_telemetry.demo.signing import Signer, check_password, hash_password, same

SESSION_SECONDS = 14 * 24 * 3600
RESET_SECONDS = 24 * 3600


class Sessions:
    """Opens, finds and closes sessions, and knows passwords and reset tokens.

    Args:
        database: where users and sessions are.
        signer: of cookies and tokens.
    """

    def __init__(self, database: sessionmaker[Session], signer: Signer) -> None:
        self._database = database
        self._signer = signer

    def open(self, user: User) -> str:
        """A new session's cookie value."""
        token, now = secrets.token_urlsafe(32), int(time.time())
        with self._database.begin() as db:
            db.execute(delete(Login).where(Login.expires < now))
            row = Login(
                token_digest=sha256_digest(token), user_id=user.id, expires=now + SESSION_SECONDS
            )
            db.add(row)
        return self._signer.sign("session", token)

    def find(self, cookie: str) -> User | None:
        """The user of a cookie value, if its session is still open."""
        token = self._signer.unsign("session", cookie)
        if token is None:
            return None
        question = (
            select(User)
            .join(Login, Login.user_id == User.id)
            .where(Login.token_digest == sha256_digest(token), Login.expires > int(time.time()))
        )
        with self._database() as db:
            return db.scalar(question)

    def close(self, cookie: str) -> None:
        """End the session of a cookie value, also where that was copied."""
        token = self._signer.unsign("session", cookie)
        if token is not None:
            with self._database.begin() as db:
                db.execute(delete(Login).where(Login.token_digest == sha256_digest(token)))

    def authenticate(self, username: str, password: str) -> User | None:
        """The user of that name, if the password is right."""
        with self._database() as db:
            user = db.scalar(select(User).where(User.username == username))
        # An unknown name takes as long as a wrong password.
        right = check_password(password, user.password if user else self._nobody)
        return user if right else None

    def set_password(self, user: User, password: str) -> None:
        """A new password; it ends all sessions of the user."""
        with self._database.begin() as db:
            row = db.get_one(User, user.id)
            row.password = hash_password(password)
            db.execute(delete(Login).where(Login.user_id == user.id))

    def csrf_token(self, cookie: str) -> str:
        """A new token for the forms of one session (of none, where the cookie is empty)."""
        nonce = secrets.token_urlsafe(16)
        return f"{nonce}.{self._signer.mac('csrf', nonce, cookie)}"

    def owns_csrf_token(self, token: str, cookie: str) -> bool:
        """Whether a token was made for this session."""
        nonce, _, mac = token.partition(".")
        return same(mac, self._signer.mac("csrf", nonce, cookie))

    def reset_token(self, user: User) -> str:
        """A token to set a new password with, once and within a day."""
        now = str(int(time.time()))
        return f"{now}-{self._signer.mac('reset', str(user.id), user.password, now)}"

    def owns_reset_token(self, user: User, token: str) -> bool:
        """Whether the token is this user's and still good."""
        made, _, mac = token.partition("-")
        right = same(mac, self._signer.mac("reset", str(user.id), user.password, made))
        return right and int(made) + RESET_SECONDS > time.time()

    @cached_property
    def _nobody(self) -> str:
        return hash_password("")
