"""What may leave the process, mode by mode."""

from __future__ import annotations

import string
from ipaddress import ip_network
from typing import get_args
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.config.settings import Privacy as Mode
from avatar_telemetry.http.privacy import (
    MAX_FIELDS,
    MAX_TEXT_LENGTH,
    MAX_URL_PART_LENGTH,
    Privacy,
    decoded,
    quote_path,
)
from avatar_telemetry.profiles.ivatar import PROFILE

# With lone surrogates, which no bytes decode to and nothing can encode.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udfff\xe9"))

KEY = b"key of a test"
STRICT, BALANCED, OFF = (Privacy(m, KEY, PROFILE.query) for m in ("strict", "balanced", "off"))
MODES = [pytest.param(each, id=each.mode) for each in (STRICT, BALANCED, OFF)]
DIGEST = "0123456789abcdef" * 2
TEMPLATE = "/avatar/{digest}"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("broken")


def raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_there_are_three_modes() -> None:
    """The modes tested here are those that can be set."""
    assert {each.mode for each in (STRICT, BALANCED, OFF)} == set(get_args(Mode))


def test_digest() -> None:
    """A digest is a keyed hash, as it came, or absent."""
    hashed = BALANCED.digest(DIGEST)
    assert hashed is not None and len(hashed) == 16 and set(hashed) <= set(string.hexdigits)
    assert BALANCED.digest(f" {DIGEST.upper()} ") == hashed
    assert Privacy("balanced", KEY).digest(DIGEST) == hashed
    assert Privacy("balanced", b"other").digest(DIGEST) != hashed
    assert BALANCED.digest(DIGEST[:-1]) != hashed
    assert OFF.digest(DIGEST.upper()) == DIGEST.upper()
    assert STRICT.digest(DIGEST) is None
    assert BALANCED.digest("") is OFF.digest("") is None


@pytest.mark.parametrize("length", [0, 65])
def test_bad_key(length: int) -> None:
    """A key that BLAKE2 would ignore or refuse is refused at the start."""
    with pytest.raises(ValueError, match="1 to 64 bytes"):
        Privacy("balanced", b"k" * length)


def test_the_key_is_not_shown() -> None:
    """The key gets into no log."""
    assert "key of a test" not in repr(BALANCED)


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        pytest.param("192.0.2.77", "192.0.2.0", id="ipv4"),
        pytest.param("2001:db8:1:2::3", "2001:db8:1::", id="ipv6"),
        pytest.param("::ffff:192.0.2.77", "192.0.2.0", id="mapped"),
        pytest.param("fe80::1%eth0", "fe80::", id="zone"),
        pytest.param("localhost", None, id="name"),
        pytest.param("", None, id="unix-socket"),
    ],
)
def test_address(ip: str, network: str | None) -> None:
    """An address is cut to its network, as it came, or absent."""
    assert BALANCED.address(ip) == network
    assert OFF.address(ip) == (ip or None)
    assert STRICT.address(ip) is None


@pytest.mark.parametrize(
    ("value", "balanced", "off"),
    [
        pytest.param("curl/8.5", "curl/8.5", "curl/8.5", id="plain"),
        pytest.param("bot (me@bot.example)", "bot (REDACTED)", "bot (me@bot.example)", id="e-mail"),
        pytest.param("\xc3\xa9", "é", "é", id="utf-8"),
        pytest.param("\xe9", "\ufffd", "\ufffd", id="not-utf-8"),
        pytest.param("x" * 999, "x" * MAX_TEXT_LENGTH, "x" * MAX_TEXT_LENGTH, id="long"),
        pytest.param("", None, None, id="empty"),
    ],
)
def test_text(value: str, balanced: str | None, off: str | None) -> None:
    """A user agent is bounded, and without addresses."""
    assert (BALANCED.text(value), OFF.text(value), STRICT.text(value)) == (balanced, off, None)


def test_an_address_that_crosses_the_bound_is_seen() -> None:
    """What is cut off is looked at before it is cut."""
    text = BALANCED.text("x " * 120 + "secret.person.of.some.name@example.org")
    assert text is not None and "secret" not in text


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        pytest.param("me at the sea.JPeG", ".jpeg", id="name"),
        pytest.param("C:\\photos\\me.png", ".png", id="path"),
        pytest.param("archive.tar.gz", ".gz", id="two"),
        pytest.param("é.png", ".png", id="not-ascii"),
        pytest.param("x" * 300 + ".png", ".png", id="long"),
        pytest.param("a.\xe9", None, id="extension-not-ascii"),
        pytest.param("me.12345678", None, id="extension-too-long"),
        pytest.param("me.a b", None, id="space"),
        pytest.param("me.png\n", None, id="newline"),
        pytest.param(".htaccess", None, id="no-stem"),
        pytest.param("me", None, id="none"),
        pytest.param("", None, id="empty"),
    ],
)
def test_file_name(name: str, extension: str | None) -> None:
    """A file name is its extension, as it came, or absent."""
    assert BALANCED.file_name(name) == extension
    assert OFF.file_name(name) == (name[:255] or None)
    assert STRICT.file_name(name) is None


@pytest.mark.parametrize(
    ("template", "script_name", "path", "private", "off"),
    [
        pytest.param(TEMPLATE, "", f"/avatar/{DIGEST}", TEMPLATE, f"/avatar/{DIGEST}", id="plain"),
        pytest.param("/", "/app", "/", "/app/", "/app/", id="script-name"),
        pytest.param("/", "/\xc3\xa9", "/a b", "/%C3%A9/", "/%C3%A9/a%20b", id="utf-8"),
        pytest.param("/x", "", "/\xe9%?#", "/x", "/%E9%25%3F%23", id="not-utf-8"),
        pytest.param("other", "", "/secret", "/{other}", "/secret", id="unknown-route"),
        pytest.param("/", "", "", "/", "", id="empty"),
    ],
)
def test_path(template: str, script_name: str, path: str, private: str, off: str) -> None:
    """The template stands for the path, behind the place where the application is mounted."""
    assert STRICT.path(template, script_name, path) == private
    assert BALANCED.path(template, script_name, path) == private
    assert OFF.path(template, script_name, path) == off


@pytest.mark.parametrize(
    ("query", "told"),
    [
        pytest.param("s=80&d=identicon", "s=80&d=identicon", id="listed"),
        pytest.param("size=99999&default=404", "size=99999&default=404", id="long-keys"),
        pytest.param("f=y&forcedefault=y", "f=y&forcedefault=y", id="forced"),
        pytest.param("gravatarproxy=n&gravatarredirect=y", "gravatarproxy=n&gravatarredirect=y",
                     id="gravatar"),
        pytest.param("robohash=set3", "robohash=set3", id="robohash"),
        pytest.param("d=https%3A%2F%2Fme.example", "d=REDACTED", id="url-as-default"),
        pytest.param("s=100000&s=-1&s=1e3&s=\xb2&s=", "&".join(["s=REDACTED"] * 5), id="no-pixels"),
        pytest.param("f=Y", "f=REDACTED", id="another-case"),
        pytest.param("%73=%38%30", "s=80", id="encoded"),
        pytest.param("email=me@example.org&s=80&token=x", "s=80", id="unlisted-keys"),
        pytest.param("d", "d=REDACTED", id="no-value"),
        pytest.param("&&=&", "", id="separators"),
        pytest.param("x=1&" * 40 + "s=80", "", id="more-fields-than-are-read"),
        pytest.param("s=" + "0" * 200, "s=REDACTED", id="long-value"),
    ],
)  # fmt: skip
def test_query(query: str, told: str) -> None:
    """Only listed keys are told, and only listed values of them."""
    assert BALANCED.query(query) == STRICT.query(query) == told


def test_fields_beyond_a_bound_are_left_out() -> None:
    """Of a query with many fields the first ones are kept, the rest not even redacted."""
    assert BALANCED.query("&".join(["s=80"] * 100)) == "&".join(["s=80"] * MAX_FIELDS)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        pytest.param("s=80&d=https%3A%2F%2Fa?b/", "s=80&d=https%3A%2F%2Fa?b/", id="as-it-came"),
        pytest.param("q=\xc3\xa9 x#", "q=%C3%A9%20x%23", id="what-no-url-holds"),
    ],
)
def test_query_off(query: str, told: str) -> None:
    """In mode off a query passes as it came."""
    assert OFF.query(query) == told


def test_exception() -> None:
    """The type of an exception always passes, its message as the mode has it."""
    error = ValueError(f"no {DIGEST} of me@example.org")
    assert STRICT.exception(error) == ("ValueError", None)
    assert BALANCED.exception(error) == ("ValueError", "no REDACTED of REDACTED")
    assert OFF.exception(error) == ("ValueError", f"no {DIGEST} of me@example.org")
    assert BALANCED.exception(Unprintable())[0] == f"{__name__}.Unprintable"


@pytest.mark.parametrize("privacy", MODES)
@pytest.mark.parametrize(
    "error", [Unprintable(), SystemExit(3), KeyError("\ud800" * 5000), BaseException()]
)
def test_odd_exceptions(privacy: Privacy, error: BaseException) -> None:
    """An exception that cannot say what it is, or says too much, has a bounded message or none."""
    _, message = privacy.exception(error)
    assert message is None or len(message.encode()) <= 4000
    assert len((privacy.stack(raised(error)) or "").encode()) <= 4 * 16_384


def test_stack() -> None:
    """A stack shows where, not what; with its source and message in mode off only."""
    error = raised(KeyError("confidential"))
    assert STRICT.stack(error) is None
    balanced, off = BALANCED.stack(error), OFF.stack(error)
    assert balanced is not None and off is not None
    assert "test_privacy.py" in balanced and "in raised" in balanced
    assert "confidential" not in balanced and "raise error" not in balanced
    assert "confidential" in off and "raise error" in off
    assert BALANCED.stack(ValueError("never raised")) is None


def recurse(depth: int) -> None:
    if not depth:
        raise ValueError(depth)
    recurse(depth - 1)


def test_deep_stacks_are_bounded() -> None:
    """Of a deep recursion the last frames are shown."""
    try:
        recurse(500)
    except ValueError as error:
        assert len((BALANCED.stack(error) or "").splitlines()) == 32


@pytest.mark.parametrize("privacy", MODES)
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_no_text_can_harm(privacy: Privacy, text: str, path: str, query: str) -> None:
    """Whatever comes, nothing raises, and what comes out is bounded and can be sent."""
    for told in (
        privacy.digest(text), privacy.address(text), privacy.text(text), privacy.file_name(text),
        privacy.exception(ValueError(text))[1],
    ):  # fmt: skip
        assert told is None or len(told.encode()) <= 4000
    url = privacy.path(TEMPLATE, text, path) + privacy.query(query)
    assert url.isascii() and len(url) <= 3 * 4 * MAX_URL_PART_LENGTH
    assert not set(url) & set(string.whitespace + "#<>\"")  # fmt: skip


@given(ANY_TEXT, st.dictionaries(st.sampled_from([*PROFILE.query, "x"]), ANY_TEXT))
def test_no_secret_is_in_a_private_url(path: str, fields: dict[str, str]) -> None:
    """A private path and query consist of listed words alone."""
    told = BALANCED.query("&".join(f"{key}={value}" for key, value in fields.items()))
    words = {"REDACTED", *PROFILE.query}
    words |= {word for rule in PROFILE.query.values() if rule != "pixels" for word in rule}
    for part in told.replace("=", "&").split("&"):
        assert part in words or part == "" or part.isdecimal()
    assert BALANCED.path(TEMPLATE, "", path) == TEMPLATE


@given(st.binary(max_size=200))
def test_paths_keep_their_bytes(path: bytes) -> None:
    """A quoted path is the bytes that were sent."""
    assert unquote_to_bytes(quote_path(path.decode("latin-1"))) == path


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_decoded(text: str) -> None:
    """Text that went through WSGI as bytes comes out as it was."""
    assert decoded(text.encode().decode("latin-1")) == text


@given(st.ip_addresses())
def test_networks(address: object) -> None:
    """Every address is in the network that is told of it, and only that is told."""
    told = BALANCED.address(str(address))
    assert told is not None
    if getattr(address, "ipv4_mapped", None) is None:
        bits = 24 if "." in str(address) and ":" not in str(address) else 48
        assert address in ip_network(f"{told}/{bits}")  # type: ignore[operator]
