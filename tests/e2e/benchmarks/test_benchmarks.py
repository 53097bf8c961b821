"""The benchmarks of whole servers, and of processes under valgrind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import server, serving
from benchmarks.command import failures
from benchmarks.instructions import count
from benchmarks.variants import VARIANTS
from tests.support.real_servers import find

pytestmark = pytest.mark.slow


def test_servers_are_loaded_in_turn() -> None:
    """Throughput and processor time are ratios to the bare server; a server that cannot start is
    told and the others are measured."""
    find("wrk")
    setting = server.Setting("gthread", "identicon", ("metrics", "sentry-100", "otel-100"))
    with_fault = {**VARIANTS, "sentry-100": replace(VARIANTS["sentry-100"], module="nobody")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "VARIANTS", with_fault)
        measured = server.measure(setting, server.Effort(fleets=1, turns=2, seconds=1))
    assert "nobody" in measured.pop("sentry-100")["failed"]
    assert set(measured) == {"bare", "metrics", "otel-100"}
    for name in ("metrics", "otel-100"):
        assert measured[name]["throughput"]["values"] == measured[name]["cpu"]["values"] == 2
    assert failures(measured) == []


def test_instructions_are_counted() -> None:
    """The layer takes more instructions than the application alone."""
    find("valgrind")
    bare, wrapped = (count(VARIANTS[name])["per_request"] for name in ("bare", "metrics"))
    assert 0 < bare < wrapped
