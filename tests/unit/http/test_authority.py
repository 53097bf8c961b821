"""Host and port as a request names them, and what is not believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.http.authority import Authority, parse, port_number, server

# With lone surrogates, which no bytes decode to and nothing can encode.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udfff\xe9"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("example.com", Authority("example.com", "example.com", None), id="name"),
        pytest.param("example.com:80", Authority("example.com:80", "example.com", 80), id="port"),
        pytest.param("example.com:", Authority("example.com:", "example.com", None), id="no-port"),
        pytest.param("192.0.2.1:1", Authority("192.0.2.1:1", "192.0.2.1", 1), id="ipv4"),
        pytest.param("[::1]:8000", Authority("[::1]:8000", "::1", 8000), id="ipv6"),
        pytest.param("[2001:db8::1]", Authority("[2001:db8::1]", "2001:db8::1", None), id="bare"),
        pytest.param("example.com:abc", None, id="port-of-letters"),
        pytest.param("example.com:65536", None, id="port-too-large"),
        pytest.param("example.com:0", None, id="port-0"),
        pytest.param("example.com:\u0661", None, id="port-of-other-digits"),
        pytest.param("::1", None, id="ipv6-without-brackets"),
        pytest.param("[::1", None, id="open-bracket"),
        pytest.param("[:::::]", None, id="no-address-in-brackets"),
        pytest.param("user@example.com", None, id="user"),
        pytest.param("example.com/path", None, id="path"),
        pytest.param("ex\xe4mple.com", None, id="not-ascii"),
        pytest.param("example.com\n", None, id="newline"),
        pytest.param("a" * 256, None, id="name-too-long"),
        pytest.param("", None, id="empty"),
    ],
)
def test_parse(text: str, expected: Authority | None) -> None:
    """A text is a host with or without a port, or nothing at all."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("scheme", "host", "name", "port", "expected"),
    [
        pytest.param("http", "a.example", "b", "8000", ("a.example", "a.example", 80), id="host"),
        pytest.param("https", "a.example", "b", "8000", ("a.example", "a.example", 443), id="tls"),
        pytest.param("http", "a.example:81", "b", "1", ("a.example:81", "a.example", 81), id="81"),
        pytest.param("http", "a@b", "srv", "8000", ("srv:8000", "srv", 8000), id="bad-host"),
        pytest.param("http", None, "srv", "80", ("srv", "srv", 80), id="no-host-default-port"),
        pytest.param("http", "", "::1", "8000", ("[::1]:8000", "::1", 8000), id="ipv6-name"),
        pytest.param("http", "x:abc", "x", "abc", ("x", "x", None), id="gunicorn-on-a-unix-socket"),
        pytest.param("http", None, "/run/web.sock", "", None, id="unix-socket-without-host"),
        pytest.param("http", None, None, None, None, id="nothing"),
    ],
)  # fmt: skip
def test_server(
    scheme: str, host: str | None, name: str | None, port: str | None, expected: object
) -> None:
    """The Host header says where a request went; the server's own word stands in for a bad one."""
    assert server(scheme, host, name, port) == expected


@given(ANY_TEXT, ANY_TEXT | st.none(), ANY_TEXT | st.none(), ANY_TEXT | st.none())
def test_any_text(scheme: str, host: str | None, name: str | None, port: str | None) -> None:
    """Whatever is sent, the answer is a plain host and a possible port, or nothing."""
    found = server(scheme, host, name, port)
    if found is not None:
        assert found.netloc.isascii() and not set(found.netloc) & set("/@?# \n")
        assert found.port is None or 0 < found.port < 65_536
    assert port_number(scheme) is None or scheme.isdigit()
