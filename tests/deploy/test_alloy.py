"""Alloy's configuration follows its grammar, and what it refers to is there. No Alloy runs here."""

from __future__ import annotations

import pytest

from tests.support.alloy_syntax import AlloySyntaxError, Block, parse
from tests.support.paths import REPOSITORY

TEXT = (REPOSITORY / "deploy" / "alloy" / "config.alloy").read_text(encoding="utf-8")
# What components of a kind export, from Alloy's reference.
EXPORTS = {"otelcol": "input", "prometheus.remote_write": "receiver", "local.file": "content"}
SINKS = {"otelcol.exporter.otlp", "otelcol.exporter.otlphttp", "prometheus.remote_write"}
COMPONENTS = {block.address: block for block in parse(TEXT)}


def exported(address: str) -> str:
    """What a reference to a component may ask for."""
    kind = COMPONENTS[address].name
    return EXPORTS.get(kind) or EXPORTS[kind.partition(".")[0]]


def reached(address: str) -> set[str]:
    """A component, and all that its data flows to."""
    nexts = {name.rpartition(".")[0] for name in COMPONENTS[address].references()}
    return {address}.union(*(reached(each) for each in nexts))


def value(block: Block, name: str) -> str:
    """An attribute of one literal."""
    (token,) = block.attributes[name]
    return token.text.strip('"')


def test_every_reference_leads_somewhere() -> None:
    """A reference names a declared component and something that its kind exports."""
    for block in COMPONENTS.values():
        for reference in block.references():
            address, _, export = reference.rpartition(".")
            assert address in COMPONENTS, reference
            assert export == exported(address), reference


def test_addresses_are_unique_and_used() -> None:
    """No component is declared twice, and none but the sources is left out of the flow."""
    blocks = parse(TEXT)
    assert len(COMPONENTS) == len(blocks)
    used = {name.rpartition(".")[0] for block in blocks for name in block.references()}
    unused = {block.name for block in blocks if block.address not in used}
    assert unused == {"otelcol.receiver.otlp", "prometheus.scrape"}


def test_every_signal_arrives() -> None:
    """What comes in goes out: traces and logs to their stores, metrics, scraped ones too, to
    Prometheus."""
    kinds = {COMPONENTS[each].name for each in reached("otelcol.receiver.otlp.hosts")}
    assert kinds >= SINKS
    assert "prometheus.remote_write.default" in reached("prometheus.scrape.hosts")


def test_it_listens_where_the_hosts_push() -> None:
    """The ports are those of OTLP: 4317 for gRPC, 4318 for HTTP."""
    blocks = {each.name: each for each in COMPONENTS["otelcol.receiver.otlp.hosts"].blocks}
    assert value(blocks["grpc"], "endpoint") == "0.0.0.0:4317"
    assert value(blocks["http"], "endpoint") == "0.0.0.0:4318"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("otelcol.receiver.otlp:\n  grpc:\n", id="yaml"),
        pytest.param('a "b" {\n  x = \n}\n', id="no value"),
        pytest.param('a "b" {\n  x = [1 2]\n}\n', id="no comma"),
        pytest.param('a "b" {\n  x = [\n    1\n  ]\n}\n', id="no comma before a line break"),
        pytest.param('a "b" {\n  x = 1 y = 2\n}\n', id="two on a line"),
        pytest.param('a "b" {\n  x = 1\n  x = 2\n}\n', id="twice"),
        pytest.param('a "b" {\n  x = word\n}\n', id="a bare word"),
        pytest.param('a "b" {\n', id="open block"),
        pytest.param('a "b" {\n  x = "open\n}\n', id="open text"),
        pytest.param("x = 1\n", id="attribute outside"),
    ],
)
def test_what_is_no_configuration_is_refused(text: str) -> None:
    """The parser is strict enough to find a slip."""
    with pytest.raises(AlloySyntaxError):
        parse(text)
