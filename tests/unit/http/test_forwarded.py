"""The client's address: as far as trusted proxies vouch for it, and never further."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.config.parsing import Allow
from avatar_telemetry.http.forwarded import (
    MAX_HEADER_LENGTH,
    MAX_HOPS,
    Proxies,
    elements,
    parse_address,
)

# With lone surrogates, which no bytes decode to and nothing can encode.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udfff\xe9"))

INNER = "10.0.0.1"
CLIENT = "203.0.113.7"
TRUSTED = Allow((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))


def origin(peer: str, trusted: Allow = TRUSTED, **headers: str) -> tuple[str, str | None]:
    names = {"xff": "HTTP_X_FORWARDED_FOR", "rfc": "HTTP_FORWARDED",
             "proto": "HTTP_X_FORWARDED_PROTO"}  # fmt: skip
    environ = {names[name]: value for name, value in headers.items()}
    return Proxies(trusted).origin({"REMOTE_ADDR": peer, **environ})


@pytest.mark.parametrize(
    ("node", "address"),
    [
        pytest.param("192.0.2.1", "192.0.2.1", id="ipv4"),
        pytest.param("192.0.2.1:4711", "192.0.2.1", id="ipv4-port"),
        pytest.param("192.0.2.1:_port", "192.0.2.1", id="ipv4-obfuscated-port"),
        pytest.param("2001:db8::1", "2001:db8::1", id="ipv6"),
        pytest.param("[2001:DB8::1]", "2001:db8::1", id="ipv6-brackets"),
        pytest.param("[2001:db8::1]:4711", "2001:db8::1", id="ipv6-port"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", id="mapped"),
        pytest.param("[::ffff:192.0.2.1]:80", "192.0.2.1", id="mapped-brackets"),
        pytest.param("fe80::1%eth0", "fe80::1", id="zone"),
        pytest.param("[192.0.2.1]", None, id="ipv4-in-brackets"),
        pytest.param("[::1", None, id="open-bracket"),
        pytest.param("[::1]x", None, id="text-after-bracket"),
        pytest.param("192.0.2.1:port", None, id="port-of-letters"),
        pytest.param("192.0.2.1:", None, id="colon-without-port"),
        pytest.param("192.0.2.256", None, id="no-ipv4"),
        pytest.param("unknown", None, id="unknown"),
        pytest.param("_hidden", None, id="obfuscated"),
        pytest.param("example.com", None, id="name"),
        pytest.param("1" * 1000, None, id="long"),
        pytest.param("", None, id="empty"),
    ],
)
def test_parse_address(node: str, address: str | None) -> None:
    """A node is an address in any of the ways that proxies write one, or none."""
    assert (str(found) if (found := parse_address(node)) else None) == address


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        pytest.param(CLIENT, "1.1.1.1", CLIENT, id="untrusted-peer"),
        pytest.param(INNER, CLIENT, CLIENT, id="one-proxy"),
        pytest.param("::ffff:10.0.0.1", CLIENT, CLIENT, id="mapped-peer"),
        pytest.param(INNER, f"1.1.1.1, {CLIENT}", CLIENT, id="made-up-by-the-client"),
        pytest.param(INNER, f"{CLIENT}, 10.9.9.9", CLIENT, id="two-proxies"),
        pytest.param(INNER, f"{CLIENT},fd00::1", CLIENT, id="ipv6-proxy"),
        pytest.param(INNER, "10.3.3.3, 10.9.9.9", "10.3.3.3", id="all-trusted"),
        pytest.param(INNER, f"{CLIENT}:1234", CLIENT, id="port"),
        pytest.param(INNER, "[2001:db8::5]:1234", "2001:db8::5", id="ipv6-port"),
        pytest.param(INNER, "1.1.1.1, unknown", INNER, id="unknown-ends"),
        pytest.param(INNER, "1.1.1.1, garbage, 10.9.9.9", "10.9.9.9", id="last-vouched"),
        pytest.param(INNER, f"{CLIENT},", INNER, id="empty-hop-ends"),
        pytest.param(INNER, "", INNER, id="empty-header"),
        pytest.param("", CLIENT, "", id="unix-socket-not-trusted"),
    ],
)
def test_x_forwarded_for(peer: str, header: str, client: str) -> None:
    """The walk goes from the peer to the left and ends at the first address that is not trusted."""
    assert origin(peer, xff=header)[0] == client


@pytest.mark.parametrize(
    ("header", "client"),
    [
        pytest.param(f"for={CLIENT}", CLIENT, id="plain"),
        pytest.param(f"For={CLIENT};proto=https;by=203.0.113.43", CLIENT, id="other-pairs"),
        pytest.param(f"proto=https ; FOR={CLIENT}", CLIENT, id="order-and-case"),
        pytest.param('for="[2001:db8::1]:4711"', "2001:db8::1", id="quoted-ipv6"),
        pytest.param(r'for="203.0.113\.7"', CLIENT, id="escape"),
        pytest.param(f"for={CLIENT}:80", CLIENT, id="port-without-quotes"),
        pytest.param(f"for=1.1.1.1, for={CLIENT}, for=10.9.9.9", CLIENT, id="several"),
        pytest.param(f'for=1.1.1.1;x="a, b;for=2.2.2.2",for={CLIENT}', CLIENT, id="quoted-comma"),
        pytest.param(f'for="1.1.1.1, for={CLIENT}', CLIENT, id="quote-left-open-by-the-client"),
        pytest.param(f'for="x, for="{CLIENT}"', CLIENT, id="quote-left-open-before-a-quote"),
        pytest.param(f"for=x\\, for={CLIENT}", CLIENT, id="backslash-before-the-comma"),
        pytest.param(
            rf'for={CLIENT};host="a\", for=1.1.1.1;x=\""', CLIENT, id="client-text-in-the-host"
        ),
        pytest.param("for=unknown", INNER, id="unknown"),
        pytest.param("for=1.1.1.1, for=_hidden", INNER, id="obfuscated"),
        pytest.param("for=1.1.1.1, for=x, for=10.9.9.9", "10.9.9.9", id="last-vouched"),
        pytest.param("by=1.1.1.1", INNER, id="no-for"),
        pytest.param("for 1.1.1.1", INNER, id="no-equals"),
        pytest.param("for=1.1.1.1 x", INNER, id="text-after-value"),
        pytest.param(f"for={CLIENT};for=1.1.1.1", CLIENT, id="for-twice"),
    ],
)
def test_forwarded(header: str, client: str) -> None:
    """``Forwarded`` is read as RFC 7239 writes it, from the right, where clients cannot write."""
    assert origin(INNER, rfc=header)[0] == client


@pytest.mark.parametrize(
    ("rfc", "xff", "client"),
    [
        pytest.param(f"for={CLIENT}", CLIENT, CLIENT, id="same"),
        pytest.param("for=1.1.1.1", CLIENT, CLIENT, id="forwarded-passed-through"),
        pytest.param(" ", CLIENT, CLIENT, id="blank-passed-through"),
        pytest.param(f"for={CLIENT}", " ", CLIENT, id="blank-x-forwarded-for"),
        pytest.param("garbage", CLIENT, CLIENT, id="garbage-passed-through"),
    ],
)
def test_no_client_hides_behind_the_other_header(rfc: str, xff: str, client: str) -> None:
    """Most proxies write X-Forwarded-For: a Forwarded of the client beside it changes nothing."""
    assert origin(INNER, rfc=rfc, xff=xff)[0] == client


@pytest.mark.parametrize("long", ["", "x" * MAX_HEADER_LENGTH])
def test_what_the_proxies_write_is_learnt(long: str) -> None:
    """A header that was absent from a request of a proxy is none that it writes."""

    def address(**headers: str) -> str:
        more = {f"HTTP_{name}": value for name, value in headers.items()}
        return proxies.client_address({"REMOTE_ADDR": INNER, **more})

    both = {"FORWARDED": f"{long}, for={CLIENT}", "X_FORWARDED_FOR": f"{long}, 1.1.1.1"}
    proxies = Proxies(TRUSTED)
    assert address(FORWARDED="for=192.0.2.9") == "192.0.2.9"
    assert address(**both) == CLIENT
    proxies.client_address({"REMOTE_ADDR": CLIENT, "HTTP_X_FORWARDED_FOR": "1.1.1.1"})
    assert address(**both) == CLIENT, "a peer that is not trusted teaches nothing"
    assert address(X_FORWARDED_FOR="192.0.2.9") == "192.0.2.9"
    assert address(**both) == INNER, "some write the one and some the other"


def test_a_unix_socket_is_trusted_by_its_word() -> None:
    """A peer without an address vouches only where the operator wrote ``unix``."""
    trusted = Allow(TRUSTED.networks, unix=True)
    assert origin("", trusted, xff=CLIENT)[0] == CLIENT
    assert origin("", trusted, xff="unknown")[0] == ""
    assert origin(CLIENT, trusted, xff="1.1.1.1")[0] == CLIENT


@pytest.mark.parametrize(
    ("peer", "headers", "scheme"),
    [
        pytest.param(INNER, {"proto": "https"}, "https", id="trusted"),
        pytest.param(INNER, {"proto": "http, HTTPS "}, "https", id="rightmost"),
        pytest.param(INNER, {"rfc": f"for={CLIENT};proto=https"}, "https", id="rfc"),
        pytest.param(
            INNER, {"rfc": f"for={CLIENT};proto=https, for=10.1.1.1;proto=http"}, "https",
            id="rfc-nearest-to-the-client",
        ),
        pytest.param(INNER, {"proto": "gopher"}, None, id="no-scheme-of-the-web"),
        pytest.param(CLIENT, {"proto": "https", "rfc": "proto=https"}, None, id="untrusted"),
    ],
)  # fmt: skip
def test_scheme(peer: str, headers: dict[str, str], scheme: str | None) -> None:
    """The scheme that the client used is a trusted proxy's to tell."""
    assert origin(peer, **headers)[1] == scheme


def test_without_trusted_proxies_the_peer_is_as_it_is() -> None:
    """No header counts, and nothing is parsed."""
    proxies = Proxies(Allow())
    environ = {"REMOTE_ADDR": "::ffff:10.0.0.1", "HTTP_X_FORWARDED_FOR": CLIENT}
    assert not proxies
    assert proxies.client_address(environ) == "::ffff:10.0.0.1"
    assert proxies.client_address({}) == ""


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(f"{CLIENT}," + ", ".join([INNER] * 1000), id="more-hops"),
        pytest.param(f"{CLIENT}," + " " * MAX_HEADER_LENGTH + INNER, id="longer-header"),
    ],
)
def test_work_is_bounded(header: str) -> None:
    """What is further away than the bounds is not read; the last hop read is the client."""
    assert origin(INNER, xff=header)[0] == INNER
    assert origin(INNER, xff=", ".join([CLIENT] + [INNER] * (MAX_HOPS - 1)))[0] == CLIENT


def test_half_an_address_is_none() -> None:
    """An address that the bound cuts through is not taken for a shorter one."""
    rest = ", 10.9.9.9" + " " * (MAX_HEADER_LENGTH - len("3.0.113.7, 10.9.9.9"))
    assert origin(INNER, xff=f"{CLIENT}{rest}")[0] == "10.9.9.9"


HOSTILE = ANY_TEXT | st.lists(
    st.sampled_from(["for=", "for", "=", '"', "\\", ",", ";", " ", INNER, CLIENT, "[", "]", ":",
                     "unknown", "_x", "::1", "proto=https", "\xff", "\n"]),
).map("".join)  # fmt: skip


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_hostile_headers(peer: str, rfc: str, xff: str, proto: str) -> None:
    """Whatever is sent, the client is the peer or an address, and the scheme is one of the web."""
    address, scheme = origin(peer, rfc=rfc, xff=xff, proto=proto)
    assert address == peer or ip_address(address)
    assert scheme in (None, "http", "https")
    assert origin(CLIENT, rfc=rfc, xff=xff, proto=proto) == (CLIENT, None)


@given(HOSTILE)
def test_a_client_cannot_forge(made_up: str) -> None:
    """Whatever a client sends in front, what the proxy appends is the client's address."""
    assert origin(INNER, xff=f"{made_up}, {CLIENT}")[0] == CLIENT
    assert origin(INNER, rfc=f"{made_up}, for={CLIENT}")[0] == CLIENT
    assert origin(INNER, rfc=f'{made_up}, for="[2001:db8::1]:80"')[0] == "2001:db8::1"


@given(HOSTILE)
def test_elements_lose_nothing(header: str) -> None:
    """The elements of a header are all of it, in its order, without the commas between them."""
    assert ",".join(reversed(list(elements(header)))) == header
