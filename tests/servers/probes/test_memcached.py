"""The probes of memcached's clients against a real one: spans without keys, hit or miss."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient

from avatar_telemetry.probes import LIBRARY_PROBES
from tests.support import real_servers
from tests.support.recorder import DIGEST, Recorder
from tests.support.requirements import require
from tests.support.spans import Spans
from tests.support.waiting import DEADLINE

KEY = f"http://localhost/avatar/{DIGEST}"
VALUE = "secret0a1b"
NUMBERS = count()
Address = tuple[str, int]


@pytest.fixture
def address(shared_memcached: str) -> Address:
    return split(shared_memcached)


def split(text: str) -> Address:
    host, _, port = text.partition(":")
    return host, int(port)


@pytest.fixture(scope="module", autouse=True)
def probes() -> None:
    for name in ("pymemcache", "pylibmc") * 2:
        LIBRARY_PROBES[name]()


def pylibmc(address: Address) -> Any:
    patience = dict.fromkeys(("connect_timeout", "_poll_timeout"), int(DEADLINE * 1000))
    return require("pylibmc").Client(["{}:{}".format(*address)], behaviors=patience)


@contextmanager
def opened(make: Callable[[Address], Any], address: Address) -> Iterator[Any]:
    client = make(address)
    try:
        yield client
    finally:
        (getattr(client, "close", None) or client.disconnect_all)()


MAKERS = [
    pytest.param(Client, id="Client"),
    pytest.param(PooledClient, id="PooledClient"),
    pytest.param(lambda address: HashClient([address]), id="HashClient"),
    pytest.param(lambda address: HashClient([address], use_pooling=True), id="pooled HashClient"),
    pytest.param(pylibmc, id="pylibmc"),
]


@pytest.mark.parametrize("privacy", ["strict", "balanced", "off"])
@pytest.mark.parametrize("make", MAKERS)
def test_spans(spans: Spans, policy, address: Address, make, privacy) -> None:
    """Each operation is a span with its name, hit or miss, and neither key nor value."""
    policy(privacy=privacy)
    key = f"{KEY}{next(NUMBERS)}"  # what an earlier client deleted may still be on its way
    with opened(make, address) as client, spans.recording():
        client.set(key, VALUE)
        assert client.get(key) in (VALUE, VALUE.encode())
        assert client.get(key + "x") is None
        client.delete(key)
    assert spans.names() == ["memcached." + name for name in ("set", "get", "get", "delete")]
    hits = [dict(span.attributes or {}).get("ivatar.cache.hit") for span in spans.all()]
    assert hits == [None, True, False, None]
    for span in spans.all():
        assert span.kind is SpanKind.CLIENT
        assert dict(span.attributes or {})["db.system"] == "memcached"
        assert "db.statement" not in dict(span.attributes or {})
        if make is not MAKERS[-1].values[0]:
            assert dict(span.attributes or {})["net.peer.name"] == address[0]
    assert DIGEST not in spans.text()
    assert VALUE not in spans.text()


@pytest.mark.parametrize("make", [*MAKERS[:2], MAKERS[-1]])
def test_many(spans: Spans, policy, address: Address, make) -> None:
    """Look-ups and writes of many keys tell no key either."""
    many = "get_multi" if make is MAKERS[-1].values[0] else "get_many"
    with opened(make, address) as client, spans.recording():
        (getattr(client, "set_many", None) or client.set_multi)({KEY: VALUE, KEY + "y": VALUE})
        assert len(getattr(client, many)([KEY, KEY + "y", KEY + "x"])) == 2
        assert getattr(client, many)([KEY + "x"]) == {}
    attributes = [dict(span.attributes or {}) for span in spans.all()]
    assert [each["ivatar.cache.hit"] for each in attributes if "ivatar.cache.hit" in each] == [
        True, False
    ]  # fmt: skip
    assert DIGEST not in spans.text()
    assert VALUE not in spans.text()


@pytest.mark.parametrize("make", MAKERS)
def test_only_in_a_trace_or_a_request(spans: Spans, policy, address: Address, make) -> None:
    """An operation outside of both is nobody's."""
    with opened(make, address) as client:
        client.get(KEY)
    assert spans.all() == []


def test_the_hit_metric_of_pylibmc(tmp_path, policy, address: Address) -> None:
    """pylibmc can be what a profile calls the avatar cache."""
    from tests.support.wsgi_client import call

    recorder = Recorder(tmp_path).using(avatar_cache=("pylibmc",))

    def application(environ, start_response):
        with opened(pylibmc, address) as client:
            client.get("nothing")
        start_response("200 OK", [("Content-Type", "image/png")])
        return [b"x"]

    call(recorder.wrap(application), path=f"/avatar/{DIGEST}")
    assert recorder.value("ivatar_avatar_cache_misses_total") == 1
    recorder.book.detach()


@pytest.mark.parametrize("make", MAKERS[:-1])  # pylibmc says that there was nothing
def test_it_dies_in_mid_request(recorder: Recorder, spans: Spans, within, make) -> None:
    """The application gets the library's own exception; the span bears its class, no message."""
    outcomes: list[type[BaseException]] = []

    def work() -> None:
        with ExitStack() as clients, ExitStack() as stack, spans.recording():
            server = split(stack.enter_context(real_servers.memcached()))
            client = clients.enter_context(opened(make, server))
            client.set("a", "b")
            stack.close()
            with pytest.raises(Exception) as caught:
                client.get("a")
            outcomes.append(caught.type)

    within(work)
    good, bad = spans.all()
    assert good.status.status_code is StatusCode.UNSET
    assert bad.status.status_code is StatusCode.ERROR
    attributes = json.loads(bad.to_json())["attributes"]
    assert attributes["error.type"].endswith(outcomes[0].__qualname__)
    assert "ivatar.cache.hit" not in attributes
    assert not bad.status.description
