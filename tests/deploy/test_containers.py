"""The compose file and the Containerfile fit to one another and to the files beside them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from avatar_demo.settings import Settings as DemoSettings
from avatar_telemetry.config.settings import Settings
from tests.support.paths import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# What listens where inside of a container: our files say so, or the image's documentation.
PORTS = {"avatar": {8000}, "memcached": {11211}, "postgresql": {5432},
         "collector": {4317, 4318, 9464}, "prometheus": {9090}, "tempo": {3200, 4317, 4318},
         "loki": {3100}, "grafana": {3000}}  # fmt: skip
ADDRESS = re.compile(rf"\b({'|'.join(PORTS)}):(\d+)\b(?!\.)")
SECRETS = {"METRICS_TOKEN": "a-token-of-the-tests", "POSTGRES_PASSWORD": "word"}
WHOLE = {"avatar", "memcached", "postgresql", "collector", "prometheus", "grafana", "tempo", "loki"}


def interpolated(text: str) -> str:
    """What compose makes of ``${NAME:?message}``."""
    return re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: SECRETS[found[1]], text)


def mounts() -> list[tuple[str, str]]:
    """Files and folders of this repository, and where they are mounted."""
    volumes = [each for service in SERVICES.values() for each in service.get("volumes", ())]
    pairs = [each.split(":")[:2] for each in volumes if each.startswith(".")]
    return [(source, target) for source, target in pairs]


def mentioned(path: Path) -> set[tuple[str, int]]:
    """Services and ports that a file names."""
    return {(name, int(port)) for name, port in ADDRESS.findall(path.read_text(encoding="utf-8"))}


def test_everything_is_there() -> None:
    """The services that the whole needs, each with an image or a build, all volumes declared."""
    assert set(SERVICES) == WHOLE
    for service in SERVICES.values():
        assert ("image" in service) != ("build" in service)
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source.startswith("./") or source in COMPOSE["volumes"]
        for other in service.get("depends_on", ()):
            assert other in SERVICES


@pytest.mark.parametrize("source", [source for source, _ in mounts()])
def test_what_is_mounted_is_there(source: str) -> None:
    """A mistyped path would be mounted as an empty folder."""
    assert (DEPLOY / source).exists()


def test_addresses_lead_to_a_service_that_listens_there() -> None:
    """Every name:port in the files that are used is a service and a port of it."""
    files = [DEPLOY / "compose.yaml", DEPLOY / "prometheus" / "scrape" / "collector.yml",
             DEPLOY / "tempo" / "tempo.yaml",
             *(DEPLOY / "grafana" / "provisioning").rglob("*.yml")]  # fmt: skip
    found = set().union(*(mentioned(path) for path in files))
    assert {name for name, _ in found} >= {"collector", "memcached", "postgresql", "tempo", "loki"}
    for name, port in found:
        assert port in PORTS[name], f"{name}:{port}"


def test_ports_are_published_to_this_machine_only() -> None:
    """Nothing is open to the network, and what is published is what listens."""
    for name, service in SERVICES.items():
        for published in service.get("ports", ()):
            host, _, inside = published.rsplit(":", 2)
            assert host == "127.0.0.1"
            assert int(inside) in PORTS[name]


def test_the_server_takes_its_environment() -> None:
    """Every setting of the avatar server exists and has a value that is allowed."""
    environment = {key: interpolated(value) for key, value in
                   SERVICES["avatar"]["environment"].items()}  # fmt: skip
    settings = Settings.from_env(environment)
    assert settings.export_enabled and settings.metrics_token == SECRETS["METRICS_TOKEN"]
    assert "http://collector:4318" in settings.otlp["metrics"].endpoint
    known = {name for name in environment if name.startswith("DEMO_")}
    demo = DemoSettings.from_environ({**environment, "DEMO_DATA": "/data"})
    assert known == {"DEMO_DATABASE", "DEMO_MEMCACHED"}
    assert environment["DEMO_MEMCACHED"] in str(demo)
    assert not demo.development


def test_the_collector_knows_its_variables() -> None:
    """What it is told in the environment is what its configuration asks for, and it listens."""
    text = (DEPLOY / "collector" / "collector.yaml").read_text(encoding="utf-8")
    for name in SERVICES["collector"]["environment"]:
        assert f"${{env:{name}" in text
    for port in PORTS["collector"]:
        assert f"0.0.0.0:{port}" in text


def test_tempo_listens_where_the_collector_sends() -> None:
    """The trace store takes OTLP over gRPC at the address that the collector is told."""
    tempo = yaml.safe_load((DEPLOY / "tempo" / "tempo.yaml").read_text())
    receivers = tempo["distributor"]["receivers"]["otlp"]["protocols"]
    port = SERVICES["collector"]["environment"]["COLLECTOR_TRACE_STORE"].partition(":")[2]
    assert receivers["grpc"]["endpoint"].endswith(f":{port}")
    assert tempo["server"]["http_listen_port"] in PORTS["tempo"]


def test_the_service_graph_is_filled() -> None:
    """Tempo makes its metrics and writes them to a Prometheus that accepts them and is asked."""
    tempo = yaml.safe_load((DEPLOY / "tempo" / "tempo.yaml").read_text())
    assert "service-graphs" in tempo["overrides"]["defaults"]["metrics_generator"]["processors"]
    (target,) = tempo["metrics_generator"]["storage"]["remote_write"]
    assert target["url"] == "http://prometheus:9090/api/v1/write"
    assert "--web.enable-remote-write-receiver" in SERVICES["prometheus"]["command"]
    path = DEPLOY / "grafana" / "provisioning" / "datasources" / "datasources.yml"
    sources = {each["type"]: each for each in yaml.safe_load(path.read_text())["datasources"]}
    graph = sources["tempo"]["jsonData"]["serviceMap"]["datasourceUid"]
    assert sources["prometheus"]["uid"] == graph
    assert sources["prometheus"]["url"] + "/api/v1/write" == target["url"]


def test_the_image_has_what_it_copies_and_listens_where_it_says() -> None:
    """Files exist; the port that is exposed is the one that gunicorn binds."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (REPOSITORY / source).exists(), source
    (port,) = re.findall(r"^EXPOSE (\d+)$", text, re.MULTILINE)
    assert f"GUNICORN_BIND=0.0.0.0:{port}" in text
    assert int(port) in PORTS["avatar"]
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)
    extras = re.findall(r"'\.\[([\w,]+)\]'", text)[0].split(",")
    declared = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert all(re.search(rf"^{extra} = \[", declared, re.MULTILINE) for extra in extras)
    assert f"http://127.0.0.1:{port}/" in text.partition("HEALTHCHECK")[2]


def test_the_context_of_the_build_is_what_it_copies() -> None:
    """Neither a virtual environment nor the history is sent to the builder."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    copied = {source for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE)
              for source in line.split()}  # fmt: skip
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied
