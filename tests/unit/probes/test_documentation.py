"""The probe that docs/probes.md shows how to write."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from avatar_telemetry.config.settings import PROBES
from tests.support.paths import DOCS
from tests.support.recorder import DIGEST, Recorder
from tests.support.traced import Spans, traced
from tests.support.wsgi_client import call

PAGE = DOCS / "probes.md"


def block(name: str) -> str:
    """A file that the page shows."""
    (found,) = re.findall(rf"```python\n(# {re.escape(name)}\n.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library of the example, with something in it."""

    class Store:
        def fetch(self, key):
            if key == "bad":
                raise OSError("gone")
            return {"there": 1}.get(key)

    module = ModuleType("shop_store")
    module.Store = Store  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_store", module)
    return Store()


def test_the_example_works(tmp_path: Path, store: Any) -> None:
    """As it stands on the page, it tells hits and misses, and lets errors pass."""
    names: dict[str, Any] = {"__name__": "shop_probe"}
    exec(block("shop_probe.py"), names)
    names["install"]()
    recorder = Recorder(tmp_path).using(avatar_cache=("shop_store",))
    spans = Spans()

    def application(environ, start_response):
        with traced(spans), suppress(OSError):
            store.fetch(environ["QUERY_STRING"])
        start_response("200 OK", [("Content-Type", "image/png")])
        return [b"x"]

    for query in ("there", "nothing", "bad"):
        call(recorder.wrap(application), path=f"/avatar/{DIGEST}", query=query)
    assert store.fetch("there") == 1
    assert recorder.value("ivatar_avatar_cache_hits_total") == 1
    assert recorder.value("ivatar_avatar_cache_misses_total") == 1
    kind = {"store.kind": "shop"}
    assert spans.attributes("store.fetch") == [
        {**kind, "store.found": True},
        {**kind, "store.found": False},
        {**kind, "error.type": "OSError"},
    ]
    recorder.book.detach()


def test_the_configuration_is_python() -> None:
    """What installs it is gunicorn's own hook with ours in it."""
    tree = compile(block("gunicorn.conf.py"), "gunicorn.conf.py", "exec")
    assert "post_fork" in tree.co_names


@pytest.mark.parametrize("probe", PROBES)
def test_every_probe_is_described(probe: str) -> None:
    """The page names each probe that is installed."""
    assert f"`{probe}`" in PAGE.read_text()
