"""How the text of a variable becomes a value, or is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.config import parsing
from avatar_telemetry.config.parsing import Allow
from avatar_telemetry.config.settings import variables
from avatar_telemetry.config.variable import Setting

ALL = list(variables())
SYNTAX = st.text("aAzZ019.,:;/-_=*+%@?#[]()\\ \t\x00\n'\"éß")
"""Texts of the characters that mean something to one of the parsers."""
ADDRESSES = st.ip_addresses()


@pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.variable)
def test_default_is_allowed(setting: Setting) -> None:
    """What stands for an unset variable is a value."""
    setting.parse(setting.default)


@given(st.sampled_from(ALL), SYNTAX | st.text())
def test_any_text_is_a_value_or_refused(setting: Setting, text: str) -> None:
    """No parser fails in another way than the one that the settings report."""
    try:
        value = setting.parse(text)
    except (ValueError, KeyError):
        return
    hash(value)  # settings are frozen, and so is each value
    assert repr(setting.parse(text)) == repr(value)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        pytest.param(parsing.boolean, " On ", True, id="boolean"),
        pytest.param(parsing.boolean, "0", False, id="boolean false"),
        pytest.param(parsing.truth, "TRUE", True, id="truth"),
        pytest.param(parsing.one_of("a", "b"), " B ", "b", id="one of"),
        pytest.param(parsing.number(0.5, 2), "0.5", 0.5, id="least number"),
        pytest.param(parsing.number(0.5, 2), "2", 2.0, id="largest number"),
        pytest.param(parsing.duration(0.5, 2), "0", 0.0, id="no duration"),
        pytest.param(parsing.duration(0.5, 2), " 500ms ", 0.5, id="least duration"),
        pytest.param(parsing.duration(0.5, 2), "2s", 2.0, id="largest duration"),
        pytest.param(parsing.duration(0.5, 2), "1.25s", 1.25, id="fraction of a duration"),
        pytest.param(parsing.count(1, 10), "1", 1, id="least count"),
        pytest.param(parsing.count(1, 10), "10", 10, id="largest count"),
        pytest.param(parsing.optional(parsing.count(1, 10)), "", None, id="optional"),
        pytest.param(parsing.limit, "", None, id="no limit"),
        pytest.param(parsing.limit, "0", 0, id="limit of nothing"),
        pytest.param(parsing.name_list("a", "b", "c"), "c,,A, c", ("c", "a"), id="words in order"),
        pytest.param(parsing.patterns, " a+ ,,b{1}", ("a+", "b{1}"), id="patterns"),
        pytest.param(parsing.propagators, "", (), id="no propagators"),
        pytest.param(parsing.propagators, "baggage,tracecontext,baggage",
                     ("baggage", "tracecontext"), id="propagators in order"),
        pytest.param(parsing.sampler, " Always_On ", "always_on", id="sampler"),
        pytest.param(parsing.opt_in, "HTTP", "stable", id="opt-in"),
        pytest.param(parsing.opt_in, "database", "old", id="opt-in of others"),
        pytest.param(parsing.secret_key, "8letters", "8letters", id="shortest key"),
        pytest.param(parsing.secret_key, "k" * 64, "k" * 64, id="longest key"),
        pytest.param(parsing.headers, "api-key=a%3Db , x= 1", (("api-key", "a=b"), ("x", "1")),
                     id="headers"),
        pytest.param(parsing.attributes, "a%2Cb=%C3%A9,c=", (("a,b", "é"), ("c", "")),
                     id="attributes"),
        pytest.param(parsing.hosts, " Example.COM ,*", ("example.com", "*"), id="hosts"),
        pytest.param(parsing.switched_off("a", "b"), "none", {"a", "b"}, id="all off"),
        pytest.param(parsing.switched_off("a", "b"), "all,-B", {"b"}, id="one off"),
        pytest.param(parsing.switched_off("a", "b"), "", frozenset(), id="none off"),
        pytest.param(parsing.sizes, "65535,1", (1, 65_535), id="sizes in order"),
        pytest.param(parsing.networks, "10.0.0.0/8, ::1", (ip_network("10.0.0.0/8"),
                                                           ip_network("::1")), id="networks"),
        pytest.param(parsing.allow, " UNIX ", Allow(unix=True), id="unix alone"),
        pytest.param(parsing.token, "A9._~+/=-", "A9._~+/=-", id="token"),
        pytest.param(parsing.host_port, "", None, id="no address"),
        pytest.param(parsing.host_port, "[::1]:65535", ("::1", 65_535), id="IPv6 address"),
        pytest.param(parsing.path, "", "", id="no path"),
        pytest.param(parsing.reference, "a.b:C.d", "a.b:C.d", id="reference"),
        pytest.param(parsing.profile, "a.b:C.d", "a.b:C.d", id="profile"),
        pytest.param(parsing.profile, "generic", "avatar_telemetry.profiles.generic:PROFILE",
                     id="name of a profile"),
        pytest.param(parsing.application, "a.b:C.d", "a.b:C.d", id="application"),
        pytest.param(parsing.application, "a:f()", "a:f()", id="factory"),
        pytest.param(parsing.application, "a:f.g(1, 'x', y=[None])", "a:f.g(1, 'x', y=[None])",
                     id="factory with arguments"),
        pytest.param(parsing.endpoint, " c:4317 ", "c:4317", id="target of gRPC"),
        pytest.param(parsing.endpoint, "http://c", "http://c", id="endpoint"),
        pytest.param(parsing.url, " http://[fe80::1%eth0]:4318/x?y=1 ",
                     "http://[fe80::1%eth0]:4318/x?y=1", id="URL"),
        pytest.param(parsing.file, __file__, __file__, id="file"),
        pytest.param(parsing.file, "", "", id="no file"),
    ],
)  # fmt: skip
def test_allowed(parse: Callable[[str], Any], text: str, value: object) -> None:
    """An allowed text becomes the value that it stands for."""
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        pytest.param(parsing.text, "a\tb", id="control character"),
        pytest.param(parsing.boolean, "", id="empty boolean"),
        pytest.param(parsing.truth, "1", id="number for a truth"),
        pytest.param(parsing.number(0.5, 2), "0.49", id="number below"),
        pytest.param(parsing.number(0.5, 2), "2.01", id="number above"),
        pytest.param(parsing.number(0.5, 2), "inf", id="infinite number"),
        pytest.param(parsing.number(0.5, 2), "nan", id="no number"),
        pytest.param(parsing.duration(0.5, 2), "499ms", id="duration below"),
        pytest.param(parsing.duration(0.5, 2), "2.1s", id="duration above"),
        pytest.param(parsing.duration(0.5, 2), "1", id="duration without a unit"),
        pytest.param(parsing.duration(0.5, 2), "1m", id="duration with another unit"),
        pytest.param(parsing.duration(0.5, 2), "-1s", id="negative duration"),
        pytest.param(parsing.duration(0.5, 2), "", id="empty duration"),
        pytest.param(parsing.count(1, 10), "0", id="count below"),
        pytest.param(parsing.count(1, 10), "11", id="count above"),
        pytest.param(parsing.count(1, 10), "1.5", id="count with a fraction"),
        pytest.param(parsing.limit, "-1", id="negative limit"),
        pytest.param(parsing.name_list("a"), "a,b", id="unknown word"),
        pytest.param(parsing.patterns, "a{99999999999}", id="pattern that overflows"),
        pytest.param(parsing.patterns, "[[", id="pattern with two errors"),
        pytest.param(parsing.patterns, "[[a]", id="pattern that a later Python may read otherwise"),
        pytest.param(parsing.propagators, "none,baggage", id="none and more"),
        pytest.param(parsing.sampler, "", id="no sampler"),
        pytest.param(parsing.secret_key, "7letter", id="short key"),
        pytest.param(parsing.secret_key, "k" * 65, id="long key"),
        pytest.param(parsing.secret_key, "kkkkkkké", id="key beyond ASCII"),
        pytest.param(parsing.headers, "a b=c", id="header name"),
        pytest.param(parsing.headers, "a=b%0D%0Ac", id="header value with a line break"),
        pytest.param(parsing.headers, "a=%C3%A9", id="header value beyond ASCII"),
        pytest.param(parsing.application, "a:f(b)", id="factory with a name"),
        pytest.param(parsing.application, "a:f(**{'b': 1})", id="factory with unpacking"),
        pytest.param(parsing.application, "a:f()()", id="factory of a factory"),
        pytest.param(parsing.application, "a:f(", id="unfinished call"),
        pytest.param(parsing.application, "a:f() + g()", id="expression"),
        pytest.param(parsing.endpoint, "c:0", id="target without a port"),
        pytest.param(parsing.endpoint, "c", id="target without a colon"),
        pytest.param(parsing.name_list("a", "none"), "none,a", id="none and more"),
        pytest.param(parsing.attributes, "=b", id="attribute without key"),
        pytest.param(parsing.attributes, "a", id="attribute without value"),
        pytest.param(parsing.hosts, "a b", id="host"),
        pytest.param(parsing.switched_off("a"), "a", id="probe without minus"),
        pytest.param(parsing.switched_off("a"), "none,-a", id="none and one"),
        pytest.param(parsing.sizes, "65536", id="large size"),
        pytest.param(parsing.sizes, "", id="no sizes"),
        pytest.param(parsing.sizes, ",".join(map(str, range(1, 102))), id="many sizes"),
        pytest.param(parsing.networks, "localhost", id="name for a network"),
        pytest.param(parsing.allow, "unix,10.0.0.1/8", id="host bits"),
        pytest.param(parsing.token, "7letter", id="short token"),
        pytest.param(parsing.token, "with space", id="token with a space"),
        pytest.param(parsing.token, "8letters\n", id="token with a line break"),
        pytest.param(parsing.host_port, "host:0", id="port 0"),
        pytest.param(parsing.host_port, "host:65536", id="large port"),
        pytest.param(parsing.host_port, "a/b:80", id="path for a host"),
        pytest.param(parsing.path, "/a?b", id="path with a query"),
        pytest.param(parsing.path, "/é", id="path beyond ASCII"),
        pytest.param(parsing.reference, "a:b:c", id="two colons"),
        pytest.param(parsing.reference, "a:1", id="number for a name"),
        pytest.param(parsing.profile, "shop", id="unknown name of a profile"),
        pytest.param(parsing.url, "http://host:0", id="URL with port 0"),
        pytest.param(parsing.url, "http://user@host", id="URL with a user"),
        pytest.param(parsing.url, "http://", id="URL without host"),
        pytest.param(parsing.file, str(Path(__file__).parent), id="folder for a file"),
    ],
)
def test_refused(parse: Callable[[str], Any], text: str) -> None:
    """What is not allowed raises."""
    with pytest.raises((ValueError, KeyError)):
        parse(text)


@given(st.lists(st.integers(1, 65_535), min_size=1, max_size=100))
def test_sizes_are_sorted_and_each_once(sizes: list[int]) -> None:
    """The order and repetitions of the text do not matter."""
    assert parsing.sizes(",".join(map(str, sizes))) == tuple(sorted(set(sizes)))


@given(st.lists(st.tuples(st.text(min_size=1), st.text())))
def test_attributes_come_back(pairs: list[tuple[str, str]]) -> None:
    """What is percent-encoded as the specification says is read as it was."""
    text = ",".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in pairs)
    assert parsing.attributes(text) == tuple(pairs)


@given(SYNTAX | st.text())
def test_headers_cannot_be_split(text: str) -> None:
    """No header that is read has a line break in its name or value (RFC 9110, section 5.5)."""
    try:
        pairs = parsing.headers(text)
    except ValueError:
        return
    assert not any(re.search(r"[\r\n\0:]", name) for name, _ in pairs)
    assert not any(re.search(r"[\r\n\0]", value) for _, value in pairs)


@given(SYNTAX | SYNTAX.map(lambda rest: "http://" + rest))
def test_no_url_has_a_user(text: str) -> None:
    """An endpoint that is read has a host, and no user whose password would be shown."""
    try:
        url = parsing.url(text)
    except ValueError:
        return
    assert url == "" or re.match(r"https?://[^/?#@]+([/?#]|\Z)", url)


@given(ADDRESSES)
def test_address_is_read(address: Any) -> None:
    """An address is itself, and an IPv4-mapped one the IPv4 address (RFC 4291, 2.5.5.2)."""
    assert parsing.ip(str(address)) == (getattr(address, "ipv4_mapped", None) or address)
    if address.version == 4:
        assert parsing.ip(f"::ffff:{address}") == address


@given(st.text())
def test_any_text_may_be_an_address(text: str) -> None:
    """What is no address is ``None``."""
    assert parsing.ip(text) is None or ip_address(text.partition("%")[0])


@pytest.mark.parametrize(
    ("allowed", "address", "holds"),
    [
        pytest.param("10.0.0.0/8", "10.255.255.255", True, id="last of a network"),
        pytest.param("10.0.0.0/8", "11.0.0.0", False, id="after a network"),
        pytest.param("10.0.0.0/8", "::ffff:10.1.1.1", True, id="IPv4-mapped"),
        pytest.param("fe80::/10", "fe80::1%eth0", True, id="zone"),
        pytest.param("10.0.0.0/8", "", False, id="unix not allowed"),
        pytest.param("10.0.0.0/8,unix", "", True, id="unix"),
        pytest.param("unix", "10.0.0.1", False, id="address where unix alone is allowed"),
        pytest.param("0.0.0.0/0", "::1", False, id="other family"),
        pytest.param("0.0.0.0/0", "unknown", False, id="no address"),
        pytest.param("", "127.0.0.1", False, id="nothing allowed"),
    ],
)
def test_who_is_allowed(allowed: str, address: str, holds: bool) -> None:
    """A caller is allowed by its network, or by its unix socket."""
    assert parsing.allow(allowed).holds(address) is holds
