"""Tables of the demo: users, their sessions, photos and addresses."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# MySQL takes the length as a wish for a larger BLOB.
PHOTO_BYTES = 2**24 - 1
MAX_ADDRESS = 254


class Base(DeclarativeBase):
    """Base of all tables."""


class User(Base):
    """Somebody with a password."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(150), unique=True)
    password: Mapped[str] = mapped_column(String(200))


class Login(Base):
    """A session; only the digest of its token is kept."""

    __tablename__ = "logins"

    token_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    expires: Mapped[int] = mapped_column(BigInteger, index=True)


class Photo(Base):
    """An uploaded image; ``format`` is the subtype of its media type."""

    __tablename__ = "photos"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    data: Mapped[bytes] = mapped_column(LargeBinary(PHOTO_BYTES), deferred=True)
    format: Mapped[str] = mapped_column(String(8))
    access_count: Mapped[int] = mapped_column(BigInteger, default=0)


class Email(Base):
    """An e-mail address, found by two digests of it."""

    __tablename__ = "emails"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    photo_id: Mapped[int | None] = mapped_column(
        ForeignKey("photos.id", ondelete="SET NULL"), index=True
    )
    email: Mapped[str] = mapped_column(String(MAX_ADDRESS), unique=True)
    digest: Mapped[str] = mapped_column(String(32), index=True)
    digest_sha256: Mapped[str] = mapped_column(String(64), index=True)
    bluesky_handle: Mapped[str] = mapped_column(String(253), default="")
    access_count: Mapped[int] = mapped_column(BigInteger, default=0)
    photo: Mapped[Photo | None] = relationship()

    @classmethod
    def of(cls, user_id: int, address: str) -> Email:
        """A new row for an address in normal form."""
        return cls(
            user_id=user_id,
            email=address,
            digest=md5_digest(address),
            digest_sha256=sha256_digest(address),
        )


class OpenId(Base):
    """An OpenID, found by the digests of its four spellings."""

    __tablename__ = "openids"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    photo_id: Mapped[int | None] = mapped_column(
        ForeignKey("photos.id", ondelete="SET NULL"), index=True
    )
    openid: Mapped[str] = mapped_column(String(MAX_ADDRESS), unique=True)
    digest: Mapped[str] = mapped_column(String(64), index=True)
    alt_digest1: Mapped[str] = mapped_column(String(64), index=True)
    alt_digest2: Mapped[str] = mapped_column(String(64), index=True)
    alt_digest3: Mapped[str] = mapped_column(String(64), index=True)
    access_count: Mapped[int] = mapped_column(BigInteger, default=0)
    photo: Mapped[Photo | None] = relationship()

    @classmethod
    def of(cls, user_id: int, address: str) -> OpenId:
        """A new row for an OpenID in normal form."""
        digests = [sha256_digest(spelling) for spelling in openid_spellings(address)]
        return cls(
            user_id=user_id,
            openid=address,
            digest=digests[0],
            alt_digest1=digests[1],
            alt_digest2=digests[2],
            alt_digest3=digests[3],
        )


def md5_digest(address: str) -> str:
    """The MD5 digest by which Gravatar and Libravatar know an address."""
    return hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()


def sha256_digest(address: str) -> str:
    """The SHA-256 digest by which Libravatar knows an address."""
    return hashlib.sha256(address.encode()).hexdigest()


def normal_email(text: str) -> str:
    """The address in lower case, empty where it is none."""
    address = text.strip().lower()
    name, at, domain = address.rpartition("@")
    plain = address.isprintable() and not set(address) & set(" \"<>(),:;'\\")
    return address if at and name and "." in domain.strip(".") and plain else ""


def normal_openid(text: str) -> str:
    """The URL with scheme and host in lower case, empty where it is none."""
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


def openid_spellings(address: str) -> tuple[str, str, str, str]:
    """HTTP and HTTPS, with and without the last slash."""
    rest = address.partition("://")[2].rstrip("/")
    return (f"http://{rest}/", f"http://{rest}", f"https://{rest}/", f"https://{rest}")
