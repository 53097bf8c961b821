"""A real OpenTelemetry Collector for a test, and what its debug output says.

    with collector(folder, COLLECTOR_YAML) as running:
        exporter = OTLPSpanExporter(f"{running.otlp_http}/v1/traces")
        ...
        spans = running.await_spans(3)

A configuration names its addresses by the environment variables that are used in
``deploy/collector/collector.yaml``; here they point to ports that stay the collector's own for the
whole test, so that it can be killed and started again.
"""

from __future__ import annotations

import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.build_servers import otelcol
from tests.support.certificates import Certificate
from tests.support.paths import DEPLOY
from tests.support.real_servers import find, hold_port, own_port, running
from tests.support.requirements import unavailable
from tests.support.waiting import DEADLINE, eventually

DEPLOY = DEPLOY / "collector"
COLLECTOR_YAML = DEPLOY / "collector.yaml"
TOKEN = "a-token-of-the-tests"
PORTS = ("COLLECTOR_OTLP_GRPC", "COLLECTOR_OTLP_HTTP", "COLLECTOR_PROMETHEUS", "COLLECTOR_HEALTH")
RESOURCE = re.compile(r"(?:.*\t)?Resource(Spans|Metrics|Logs) #\d+")
FIELD = re.compile(r"    ([A-Z][A-Za-z ]+?) *: ?(.*)")
ATTRIBUTE = re.compile(r"     -> ([^:]+): [A-Z][a-z]+\((.*)\)")
PATIENT = """
exporters:
  otlp_grpc: {{timeout: {0}s}}
  otlp_http/logs: {{timeout: {0}s}}
"""
"""Laid over every configuration: a store that is only slow is sent nothing a second time."""
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class LoggedSpan:
    """A span in the debug output; every value is text, as it is printed there."""

    resource: dict[str, str]
    fields: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.fields["Name"]

    @property
    def kind(self) -> str:
        """``Server``, ``Client``, ``Internal``, ..."""
        return self.fields["Kind"]

    @property
    def trace_id(self) -> str:
        return self.fields["Trace ID"]

    @property
    def span_id(self) -> str:
        return self.fields["ID"]

    @property
    def parent_id(self) -> str:
        """Empty for a root."""
        return self.fields["Parent ID"]

    @property
    def status(self) -> str:
        """``Unset``, ``Ok`` or ``Error``."""
        return self.fields["Status code"]


class Collector:
    """One collector; see :func:`collector`.

    Args:
        program: the built ``otelcol``.
        folder: for its log.
        configurations: later ones are laid over earlier ones.
        env: changes to the environment that the configurations are read with.
    """

    def __init__(
        self, program: Path, folder: Path, configurations: tuple[Path, ...], env: Mapping[str, str]
    ) -> None:
        self.log = folder / "otelcol.log"
        self._held = [hold_port() for _ in range(len(PORTS) + 1)]
        *addresses, own = (f"127.0.0.1:{each.getsockname()[1]}" for each in self._held)
        self._address = dict(zip(PORTS, addresses, strict=True))
        self._env = {"COLLECTOR_DEBUG": "detailed", "COLLECTOR_SELF_PORT": own.rpartition(":")[2],
                     **self._address, **env}  # fmt: skip
        patient = folder / "patient.yaml"
        patient.write_text(PATIENT.format(int(DEADLINE)))
        self._command = [str(program)]
        for each in (*configurations, patient):
            self._command += ["--config", str(each)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def otlp_http(self) -> str:
        """The URL for OTLP over HTTP, without a path."""
        return f"http://{self._address['COLLECTOR_OTLP_HTTP']}"

    @property
    def otlp_grpc(self) -> str:
        """The URL for OTLP over gRPC."""
        return f"http://{self._address['COLLECTOR_OTLP_GRPC']}"

    @property
    def metrics_url(self) -> str:
        """The page that a Prometheus scrapes."""
        return f"http://{self._address['COLLECTOR_PROMETHEUS']}/metrics"

    def start(self) -> Collector:
        """Start it, on the same ports as before; it accepts when this returns."""
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd="/", env={**os.environ, **self._env}
            )
        eventually(self._healthy, f"the collector ({self.log})")
        return self

    def stop(self) -> None:
        """End it in peace: what it has received goes through its pipelines first."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE)

    def kill(self) -> None:
        """Kill it (SIGKILL); :meth:`start` starts another."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(DEADLINE)

    def close(self) -> None:
        """End it, and give up its ports."""
        self.stop()
        for each in self._held:
            each.close()

    def spans(self) -> list[LoggedSpan]:
        """Every span in its debug output, also of collectors that were killed."""
        return parse_spans(self._shown())

    def spans_in_log(self) -> int:
        """The number of spans in its debug output; cheaper than :meth:`spans`."""
        return len(re.findall(r"(?m)^Span #\d+$", self._shown()))

    def await_spans(self, number: int) -> list[LoggedSpan]:
        """Wait until its debug output shows at least so many spans; all that it shows."""
        eventually(lambda: self.spans_in_log() >= number, f"{number} spans in {self.log}")
        return self.spans()

    def page(self) -> str:
        """The present page of its Prometheus exporter."""
        with urllib.request.urlopen(self.metrics_url, timeout=DEADLINE) as answer:
            text: str = answer.read().decode()
            return text

    def series(self) -> Series:
        """The same by sample name and labels, without what this exporter adds of its own."""
        added = ("job", "instance")
        return {
            (sample.name, frozenset(
                (name, value) for name, value in sample.labels.items()
                if name not in added and not name.startswith("otel_scope_")
            )): sample.value
            for family in text_string_to_metric_families(self.page())
            for sample in family.samples
        }  # fmt: skip

    def await_sample(self, name: str, labels: frozenset[tuple[str, str]], value: float) -> None:
        """Wait until its Prometheus exporter shows this value of a series."""
        eventually(lambda: self.series().get((name, labels)) == value, f"{name} {value}")

    def _shown(self) -> str:
        """Its log up to the end of the last batch: the next one may be half written."""
        text = self.log.read_text(errors="replace")
        return text[: text.rfind("\n\t{") + 1]

    def _healthy(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"otelcol ended: {self.log.read_text()}"
        try:
            url = f"http://{self._address['COLLECTOR_HEALTH']}/"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


@contextmanager
def collector(folder: Path, *configurations: Path, **env: str) -> Iterator[Collector]:
    """A collector that accepts OTLP.

    Args:
        folder: for its log.
        configurations: what ``otelcol --config`` gets, later ones over earlier ones;
            ``deploy/collector/collector.yaml`` where none is given.
        env: variables of the configuration, such as ``COLLECTOR_TRACE_STORE``.
    """
    running = Collector(built_otelcol(), folder, configurations or (COLLECTOR_YAML,), env)
    try:
        yield running.start()
    finally:
        running.close()


@contextmanager
def token_gate(
    folder: Path, certificate: Certificate, collector: Collector
) -> Iterator[tuple[str, str]]:
    """An nginx with the repository's file that lets in who has :data:`TOKEN`.

    Gives its URLs for HTTP and gRPC, on ports of its own.
    """
    program = find("nginx")
    with own_port() as http_port, own_port() as grpc_port:
        (folder / "token.map").write_text(
            f'map $http_authorization $otlp_sender {{ default ""; "Bearer {TOKEN}" known; }}'
        )
        servers = (DEPLOY / "nginx-token.conf").read_text()
        for usual, ours in {
            "/etc/otelcol/token.map": str(folder / "token.map"),
            "/etc/otelcol/collector.pem": str(certificate.path),
            "/etc/otelcol/collector.key": str(certificate.key),
            "listen 4318 ": f"listen 127.0.0.1:{http_port} ",
            "listen 4317 ": f"listen 127.0.0.1:{grpc_port} ",
            "http://127.0.0.1:14318": collector.otlp_http,
            "grpc://127.0.0.1:14317": collector.otlp_grpc.replace("http:", "grpc:"),
        }.items():
            assert usual in servers
            servers = servers.replace(usual, ours)
        configuration = folder / "nginx.conf"
        paths = "\n".join(
            f"{name}_temp_path {folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # Its workers write bodies too long for memory into a folder that only this user may enter.
        user = "user root;" if os.geteuid() == 0 else ""
        configuration.write_text(
            f"{user} daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.error info;\n"
            f"events {{}}\nhttp {{ access_log off;\n{paths}\n{servers} }}\n"
        )
        command = [program, "-c", str(configuration), "-e", f"{folder}/nginx.error"]
        with running(command, folder / "nginx.log", http_port):
            yield f"https://127.0.0.1:{http_port}", f"https://127.0.0.1:{grpc_port}"


def built_otelcol() -> Path:
    """The program; skips or fails the test where it was not built."""
    program = otelcol()
    if not program.exists():
        unavailable("the collector is not built; see tests/support/build_servers.py")
    return program


def parse_spans(text: str) -> list[LoggedSpan]:
    """The spans in the ``detailed`` output of the debug exporter."""
    spans: list[LoggedSpan] = []
    resource: dict[str, str] = {}
    target = resource
    for line in text.splitlines():
        if match := RESOURCE.fullmatch(line):
            target = {}
            resource = target if match[1] == "Spans" else resource
        elif line.startswith("InstrumentationScope "):
            target = {}  # its attributes are nobody's
        elif line.startswith("Span #"):
            spans.append(LoggedSpan(resource))
            target = spans[-1].attributes
        elif line == "Events:" or line == "Links:":
            target = {}
        elif match := ATTRIBUTE.fullmatch(line):
            target[match[1]] = match[2]
        elif spans and target is spans[-1].attributes and (match := FIELD.fullmatch(line)):
            spans[-1].fields[match[1]] = match[2]
    return spans
