"""Tables of the demo: users, their sessions, photos and addresses."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, relationship

# MySQL needs the length to choose a larger BLOB.
MAX_PHOTO_BYTES = 2**24 - 1
MAX_ADDRESS = 254


class Base(DeclarativeBase):
    """Base of all tables."""


class User(Base):
    """A user with a password."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(150), unique=True)
    password: Mapped[str] = mapped_column(String(200))


class Owned(Base):
    """Base of the tables whose rows belong to a user."""

    __abstract__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)


class Login(Base):
    """A session; only the digest of its token is stored."""

    __tablename__ = "logins"

    token_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    expires: Mapped[int] = mapped_column(BigInteger, index=True)


class Photo(Owned):
    """An uploaded image; ``format`` is the subtype of its media type."""

    __tablename__ = "photos"

    data: Mapped[bytes] = mapped_column(LargeBinary(MAX_PHOTO_BYTES), deferred=True)
    format: Mapped[str] = mapped_column(String(8))
    access_count: Mapped[int] = mapped_column(BigInteger, default=0)


class Address(Owned):
    """An address in normal form, found by its digests, and its photo."""

    __abstract__ = True

    DIGESTS: ClassVar[tuple[str, ...]]
    """The columns of its digests."""

    photo_id: Mapped[int | None] = mapped_column(
        ForeignKey("photos.id", ondelete="SET NULL"), index=True
    )
    access_count: Mapped[int] = mapped_column(BigInteger, default=0)
    address: Any
    digest: Any

    @declared_attr
    def photo(cls) -> Mapped[Photo | None]:
        return relationship(Photo)


class Email(Address):
    """An e-mail address."""

    __tablename__ = "emails"
    DIGESTS = ("digest", "digest_sha256")

    address: Mapped[str] = mapped_column("email", String(MAX_ADDRESS), unique=True)
    digest: Mapped[str] = mapped_column(String(32), index=True)
    digest_sha256: Mapped[str] = mapped_column(String(64), index=True)
    bluesky_handle: Mapped[str] = mapped_column(String(253), default="")

    @classmethod
    def of(cls, user_id: int, address: str) -> Email:
        """Make a new row."""
        digests = zip(cls.DIGESTS, (md5_digest(address), sha256_digest(address)), strict=True)
        return cls(user_id=user_id, address=address, **dict(digests))


class OpenId(Address):
    """An OpenID, found by its four spellings: HTTP or HTTPS, with or without the last slash."""

    __tablename__ = "openids"
    DIGESTS = ("digest", "alt_digest1", "alt_digest2", "alt_digest3")

    address: Mapped[str] = mapped_column("openid", String(MAX_ADDRESS), unique=True)
    digest: Mapped[str] = mapped_column(String(64), index=True)
    alt_digest1: Mapped[str] = mapped_column(String(64), index=True)
    alt_digest2: Mapped[str] = mapped_column(String(64), index=True)
    alt_digest3: Mapped[str] = mapped_column(String(64), index=True)

    @classmethod
    def of(cls, user_id: int, address: str) -> OpenId:
        """Make a new row."""
        rest = address.partition("://")[2].rstrip("/")
        spellings = (f"http://{rest}/", f"http://{rest}", f"https://{rest}/", f"https://{rest}")
        digests = zip(cls.DIGESTS, map(sha256_digest, spellings), strict=True)
        return cls(user_id=user_id, address=address, **dict(digests))


def md5_digest(address: str) -> str:
    """Return the MD5 digest of an address, as Gravatar and Libravatar use it."""
    return hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()


def sha256_digest(address: str) -> str:
    """Return the SHA-256 digest of an address, as Libravatar uses it."""
    return hashlib.sha256(address.encode()).hexdigest()


def normal_email(text: str) -> str:
    """Return an e-mail address in lower case, empty if it is invalid."""
    address = text.strip().lower()
    name, at, domain = address.rpartition("@")
    plain = address.isprintable() and not set(address) & set(" \"<>(),:;'\\")
    return address if at and name and "." in domain.strip(".") and plain else ""


def normal_openid(text: str) -> str:
    """Return a URL with scheme and host in lower case, empty if it is invalid."""
    address = text.strip()
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or "." not in parts.netloc:
        return ""
    if not address.isprintable() or " " in address:
        return ""
    return urlunsplit(parts._replace(netloc=parts.netloc.lower()))
