"""Names and values of the HTTP attributes: what the conventions publish, and what a client sent."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.semconv._incubating.attributes import http_attributes as old_http
from opentelemetry.semconv._incubating.attributes import net_attributes as old_net
from opentelemetry.semconv.attributes import (
    client_attributes,
    error_attributes,
    http_attributes,
    network_attributes,
    server_attributes,
    url_attributes,
    user_agent_attributes,
)

from avatar_telemetry.config.parsing import Allow, opt_in
from avatar_telemetry.http.forwarded import Proxies
from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.http.semconv import (
    AVATAR_NAMES,
    FILE_NAMES,
    REQUEST_NAMES,
    RESPONSE_NAMES,
    HttpAttributes,
)
from avatar_telemetry.profiles.ivatar import PROFILE

# With lone surrogates, which no bytes decode to and nothing can encode.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udfff\xe9"))

TEMPLATE = "/avatar/{digest}"
NOBODY = Allow()
DIGEST = "0123456789abcdef" * 2
STABLE_MODULES = (
    client_attributes, error_attributes, http_attributes, network_attributes, server_attributes,
    url_attributes, user_agent_attributes,
)  # fmt: skip
NO_CONVENTION = {
    # The package has no constants for sizes of bodies among the stable ones.
    "http.request.body.size": old_http.HTTP_REQUEST_BODY_SIZE,
    "http.response.body.size": old_http.HTTP_RESPONSE_BODY_SIZE,
}
REQUEST = {
    "REQUEST_METHOD": "GET",
    "wsgi.url_scheme": "http",
    "HTTP_HOST": "avatar.example:8000",
    "SERVER_NAME": "0.0.0.0",
    "SERVER_PORT": "8000",
    "SCRIPT_NAME": "",
    "PATH_INFO": f"/avatar/{DIGEST}",
    "QUERY_STRING": "s=80&token=x",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_USER_AGENT": "curl/8.5",
    "REMOTE_ADDR": "192.0.2.77",
}
OLD = {
    "http.method": "GET",
    "http.url": "http://avatar.example:8000/avatar/{digest}?s=80",
    "http.target": "/avatar/{digest}?s=80",
    "http.scheme": "http",
    "http.flavor": "1.1",
    "http.user_agent": "curl/8.5",
    "http.remote_addr": "192.0.2.0",
    "net.host.name": "avatar.example",
    "net.host.port": 8000,
}
STABLE = {
    "http.request.method": "GET",
    "url.scheme": "http",
    "url.path": "/avatar/{digest}",
    "url.query": "s=80",
    "server.address": "avatar.example",
    "server.port": 8000,
    "client.address": "192.0.2.0",
    "network.peer.address": "192.0.2.0",
    "network.protocol.version": "1.1",
    "user_agent.original": "curl/8.5",
}


def attributes(
    environ: dict[str, str], mode: str, privacy: str = "balanced", trusted: Allow = NOBODY,
    template: str = TEMPLATE, error: str | None = None, size: int | None = 5,
) -> dict[str, Any]:  # fmt: skip
    rules = Privacy(privacy, b"key", PROFILE.query)  # type: ignore[arg-type]
    http = HttpAttributes(mode, rules, Proxies(trusted))  # type: ignore[arg-type]
    target, agent, addresses = http.read(environ, template)
    values = (
        *http.target(target), *http.agent(agent), *http.address(addresses),
        *http.status(200, error), *http.size(size),
    )  # fmt: skip
    names = (*REQUEST_NAMES[mode], *RESPONSE_NAMES[mode])  # type: ignore[index]
    assert len(set(names)) == len(names)
    pairs = zip(names, values, strict=True)
    return {name: value for name, value in pairs if value is not None}


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", "old"), ("http", "stable"), ("http/dup", "both"), ("http, http/dup", "both"),
        ("database, http", "stable"), ("database", "old"), ("https", "old"), (",", "old"),
    ],
)  # fmt: skip
def test_opt_in(text: str, mode: str) -> None:
    """Words of the list choose the names; ``http/dup`` wins."""
    assert opt_in(text) == mode


def test_stable_names_are_published() -> None:
    """Every stable name is a constant of the published conventions."""
    published = {
        value
        for module in STABLE_MODULES
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    names = {*REQUEST_NAMES["stable"], *RESPONSE_NAMES["stable"]}
    assert names - published == set(NO_CONVENTION)
    assert all(name == constant for name, constant in NO_CONVENTION.items())


@pytest.mark.parametrize(
    ("name", "constant"),
    [
        ("http.method", old_http.HTTP_METHOD),
        ("http.url", old_http.HTTP_URL),
        ("http.target", old_http.HTTP_TARGET),
        ("http.scheme", old_http.HTTP_SCHEME),
        ("http.flavor", old_http.HTTP_FLAVOR),
        ("http.user_agent", old_http.HTTP_USER_AGENT),
        ("net.host.name", old_net.NET_HOST_NAME),
        ("net.host.port", old_net.NET_HOST_PORT),
        ("http.request_content_length", old_http.HTTP_REQUEST_CONTENT_LENGTH),
        ("http.status_code", old_http.HTTP_STATUS_CODE),
        ("http.response_content_length", old_http.HTTP_RESPONSE_CONTENT_LENGTH),
        ("http.route", http_attributes.HTTP_ROUTE),
        ("error.type", error_attributes.ERROR_TYPE),
    ],
)
def test_old_names_are_published(name: str, constant: str) -> None:
    """Every old name is the constant of its convention."""
    assert name == constant
    assert name in REQUEST_NAMES["old"] + RESPONSE_NAMES["old"]


def test_names_are_told_once() -> None:
    """No mode has a name twice; both has those of the other two."""
    for mode in ("old", "stable", "both"):
        names = REQUEST_NAMES[mode] + RESPONSE_NAMES[mode] + AVATAR_NAMES + FILE_NAMES  # type: ignore[index]
        assert len(set(names)) == len(names)
    for names in (REQUEST_NAMES, RESPONSE_NAMES):
        assert set(names["both"]) == {*names["old"], *names["stable"]}
    assert "http.remote_addr" in REQUEST_NAMES["old"]


CASES = [
    pytest.param({}, {}, {}, id="plain"),
    pytest.param(
        {"HTTP_HOST": None, "SERVER_NAME": "srv"},
        {"http.url": "http://srv:8000/avatar/{digest}?s=80", "net.host.name": "srv"},
        {"server.address": "srv"}, id="no-host",
    ),
    pytest.param(
        {"HTTP_HOST": "example.com:abc", "SERVER_NAME": "example.com", "SERVER_PORT": "abc",
         "REMOTE_ADDR": ""},
        {"http.url": "http://example.com/avatar/{digest}?s=80", "net.host.name": "example.com",
         "net.host.port": None, "http.remote_addr": None},
        {"server.address": "example.com", "server.port": None, "client.address": None,
         "network.peer.address": None}, id="unix-socket-and-a-port-of-letters",
    ),
    pytest.param(
        {"HTTP_HOST": "", "SERVER_NAME": "/run/web.sock", "SERVER_PORT": "", "REMOTE_ADDR": ""},
        {"http.url": "/avatar/{digest}?s=80", "net.host.name": None, "net.host.port": None,
         "http.remote_addr": None},
        {"server.address": None, "server.port": None, "client.address": None,
         "network.peer.address": None}, id="unix-socket-without-host",
    ),
    pytest.param(
        {"HTTP_HOST": "[2001:db8::1]:8080"},
        {"http.url": "http://[2001:db8::1]:8080/avatar/{digest}?s=80",
         "net.host.name": "2001:db8::1", "net.host.port": 8080},
        {"server.address": "2001:db8::1", "server.port": 8080}, id="ipv6-host",
    ),
    pytest.param(
        {"HTTP_HOST": "avatar.example", "wsgi.url_scheme": "https"},
        {"http.url": "https://avatar.example/avatar/{digest}?s=80", "http.scheme": "https",
         "net.host.port": 443},
        {"url.scheme": "https", "server.port": 443}, id="host-without-port",
    ),
    pytest.param(
        {"SCRIPT_NAME": "/caf\xc3\xa9", "QUERY_STRING": ""},
        {"http.url": "http://avatar.example:8000/caf%C3%A9/avatar/{digest}",
         "http.target": "/caf%C3%A9/avatar/{digest}"},
        {"url.path": "/caf%C3%A9/avatar/{digest}", "url.query": None}, id="script-name",
    ),
    pytest.param(
        {"SERVER_PROTOCOL": "HTTP/1.0", "REQUEST_METHOD": "HEAD"},
        {"http.flavor": "1.0", "http.method": "HEAD"},
        {"network.protocol.version": "1.0", "http.request.method": "HEAD"}, id="http-1.0",
    ),
    pytest.param(
        {"SERVER_PROTOCOL": "SPDY", "REQUEST_METHOD": "brew", "HTTP_USER_AGENT": None},
        {"http.flavor": None, "http.method": "_OTHER", "http.user_agent": None},
        {"network.protocol.version": None, "http.request.method": "_OTHER",
         "http.request.method_original": "brew", "user_agent.original": None}, id="unknown-words",
    ),
    pytest.param(
        {"CONTENT_LENGTH": "123"}, {"http.request_content_length": 123},
        {"http.request.body.size": 123}, id="body",
    ),
    pytest.param({"CONTENT_LENGTH": "-1"}, {}, {}, id="negative-length"),
    pytest.param({"CONTENT_LENGTH": "9" * 5000}, {}, {}, id="endless-length"),
    pytest.param({"CONTENT_LENGTH": "\u0663"}, {}, {}, id="length-of-other-digits"),
    pytest.param(
        {"QUERY_STRING": "s=80&x=" + "y" * 5000}, {}, {}, id="long-query",
    ),
]  # fmt: skip


def expected(common: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**common, **changes}.items() if value is not None}


@pytest.mark.parametrize(("changes", "old", "stable"), CASES)
def test_values(changes: dict[str, Any], old: dict[str, Any], stable: dict[str, Any]) -> None:
    """A request has the attributes of its mode, and those of both where both are asked for."""
    environ = expected(REQUEST, changes)
    ends_old = {"http.route": TEMPLATE, "http.status_code": 200, "http.response_content_length": 5}
    ends_stable = {"http.route": TEMPLATE, "http.response.status_code": 200,
                   "http.response.body.size": 5}  # fmt: skip
    by_old = expected({**OLD, **ends_old}, old)
    by_stable = expected({**STABLE, **ends_stable}, stable)
    assert attributes(environ, "old") == by_old
    assert attributes(environ, "stable") == by_stable
    assert attributes(environ, "both") == {**by_old, **by_stable}


def test_off_tells_the_url_as_it_came() -> None:
    """In mode off the path and query are the client's, in the bytes that it sent."""
    environ = {**REQUEST, "SCRIPT_NAME": "/app", "PATH_INFO": "/avatar/\xc3\xa9"}
    told = attributes(environ, "both", "off")
    assert told["http.url"] == "http://avatar.example:8000/app/avatar/%C3%A9?s=80&token=x"
    assert told["http.target"] == "/app/avatar/%C3%A9?s=80&token=x"
    assert (told["url.path"], told["url.query"]) == ("/app/avatar/%C3%A9", "s=80&token=x")
    assert told["http.remote_addr"] == told["client.address"] == "192.0.2.77"
    assert told["http.route"] == TEMPLATE


def test_strict_tells_nothing_of_the_client() -> None:
    """In mode strict what belongs to the client is absent."""
    told = attributes({**REQUEST, "REQUEST_METHOD": "BREW"}, "both", "strict")
    gone = {"http.user_agent", "http.remote_addr", "client.address", "network.peer.address",
            "user_agent.original", "http.request.method_original"}  # fmt: skip
    assert not gone & set(told)
    assert told["http.url"] == OLD["http.url"]


def test_a_trusted_proxy_speaks_for_the_client() -> None:
    """Address and scheme are the client's own, the peer is the proxy."""
    trusted = Allow((ip_network("192.0.2.0/24"),))
    headers = {"HTTP_X_FORWARDED_FOR": "203.0.113.5", "HTTP_X_FORWARDED_PROTO": "https"}
    told = attributes({**REQUEST, **headers}, "both", "off", trusted)
    assert told["http.remote_addr"] == told["client.address"] == "203.0.113.5"
    assert told["network.peer.address"] == "192.0.2.77"
    assert told["http.scheme"] == told["url.scheme"] == "https"
    untold = attributes({**REQUEST, **headers}, "both", "off")
    assert untold["http.remote_addr"] == "192.0.2.77"
    assert untold["http.scheme"] == "http"


def test_an_unknown_route_is_no_route() -> None:
    """The word for all unknown routes is not told as one."""
    told = attributes(REQUEST, "old", template="other")
    assert "http.route" not in told
    assert told["http.target"] == "/{other}?s=80"


def test_errors_and_unknown_sizes() -> None:
    """A failure has its type; a body of unknown size has none."""
    told = attributes(REQUEST, "both", error="ValueError", size=None)
    assert told["error.type"] == "ValueError"
    assert not {"http.response_content_length", "http.response.body.size"} & set(told)


KEYS = [*REQUEST, "CONTENT_LENGTH", "HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR"]


@pytest.mark.parametrize("mode", ["old", "stable", "both"])
@pytest.mark.parametrize("privacy", ["strict", "balanced", "off"])
@given(st.dictionaries(st.sampled_from(KEYS), ANY_TEXT))
def test_hostile_requests(mode: str, privacy: str, sent: dict[str, str]) -> None:
    """Whatever is sent, or missing, every value can be exported."""
    trusted = Allow((ip_network("0.0.0.0/0"),), unix=True)
    for value in attributes(sent, mode, privacy, trusted).values():
        if isinstance(value, str):
            assert value.encode() or value == ""
        else:
            assert 0 <= value < 2**63


SECRET = "s3cr3t"


BOUNDED = ("HTTP_HOST", "SERVER_NAME", "SCRIPT_NAME", "HTTP_USER_AGENT", "REQUEST_METHOD")
SECRETIVE = [key for key in KEYS if key not in BOUNDED]


@given(st.sampled_from(SECRETIVE), ANY_TEXT, ANY_TEXT)
def test_no_secret_passes(key: str, before: str, after: str) -> None:
    """What a client hides in a path, a query or a header is nowhere in the values."""
    environ = {**REQUEST, key: f"{before}{SECRET}{after}"}
    assert SECRET not in str(attributes(environ, "both"))
