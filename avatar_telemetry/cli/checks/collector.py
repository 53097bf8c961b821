"""The collector: name, port, TLS, protocol, and the answer to one record of each signal."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from avatar_telemetry.cli.checks.finding import Finding, error, good, note, warning
from avatar_telemetry.cli.checks.sending import send_test
from avatar_telemetry.cli.checks.tls import (
    CLIENT,
    check_certificate,
    client_fault,
    file_fault,
    handshake_fault,
    make_context,
)
from avatar_telemetry.cli.checks.wire import Open, Speech, speaks
from avatar_telemetry.config.destinations import grpc_installed, otlp_signals
from avatar_telemetry.config.otlp import (
    GRPC,
    GRPC_PORT,
    HTTP,
    HTTP_PORT,
    PREFIX,
    PROTOCOL,
    Otlp,
    resolve,
)
from avatar_telemetry.config.settings import Settings

OTHER_PORT = {GRPC_PORT: (HTTP_PORT, HTTP), HTTP_PORT: (GRPC_PORT, GRPC)}


@dataclass(frozen=True)
class Destination:
    """One collector as one signal sees it.

    Args:
        otlp: where and how, settled.
        host: of the endpoint.
        port: of the endpoint.
        timeout: seconds for each step.
    """

    otlp: Otlp
    host: str
    port: int
    timeout: float

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def secure(self) -> bool:
        return self.otlp.endpoint.startswith("https:")

    def connect(self) -> socket.socket:
        """A connection without TLS."""
        return socket.create_connection((self.host, self.port), self.timeout)

    def ask(self, connect: Open) -> Speech:
        """What is spoken there."""
        path = urlsplit(self.otlp.endpoint).path or "/"
        return speaks(connect, self.host, path, inside_tls=self.secure)


def check_collector(settings: Settings, *, send: bool, timeout: float) -> Iterator[Finding]:
    """Look at every collector that something is to be sent to.

    Args:
        settings: of the server.
        send: whether test records may be sent.
        timeout: seconds for each step.
    """
    looked_at: dict[object, bool] = {}
    for signal in otlp_signals(settings):
        otlp, rule = resolve(signal, settings.otlp[signal], grpc_installed=grpc_installed())
        destination = _destination(otlp, timeout)
        # The path is the signal's; everything else is one collector.
        key = (destination.host, destination.port, otlp.protocol, destination.secure,
               otlp.certificate, otlp.client_certificate)  # fmt: skip
        if key not in looked_at:
            findings = [*_rule(otlp, rule), *_look(destination)]
            looked_at[key] = all(each.level != "error" for each in findings)
            yield from findings
        if looked_at[key] and send:
            yield from send_test(settings, signal, otlp, timeout)


def _destination(otlp: Otlp, timeout: float) -> Destination:
    parts = urlsplit(otlp.endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Destination(otlp, parts.hostname or "", port, timeout)


def _rule(otlp: Otlp, rule: str) -> Iterator[Finding]:
    if not rule:
        return
    if otlp.protocol == GRPC:
        yield note("collector.port", rule)
    else:
        yield warning("collector.port", rule, f"Set {PROTOCOL} and the port that go together.")


def _look(destination: Destination) -> Iterator[Finding]:
    proxy = select_proxy(
        destination.otlp.endpoint, get_environ_proxies(destination.otlp.endpoint, no_proxy=None)
    )
    if proxy:
        yield note(
            "collector.proxy", f"{destination.address} is reached through the environment's proxy",
            "NO_PROXY leaves it out, if that is not meant.",
        )  # fmt: skip
        return
    reached = list(_reach(destination))
    yield from reached
    if any(each.level == "error" for each in reached):
        return
    if destination.secure:
        yield from _look_inside_tls(destination)
    else:
        yield from _speech(destination, destination.ask(destination.connect))


def _reach(destination: Destination) -> Iterator[Finding]:
    address = destination.address
    try:
        socket.getaddrinfo(destination.host, destination.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        yield error(
            "collector.name", f"the name {destination.host} does not resolve",
            f"Is {PREFIX}ENDPOINT spelled right, and is the name known here (in this container)?",
        )  # fmt: skip
        return
    try:
        destination.connect().close()
        yield good("collector.reached", f"{address} takes connections")
    except ConnectionRefusedError:
        yield error(
            "collector.refused", f"nobody listens on {address}", _where_instead(destination)
        )
    except TimeoutError:
        yield error(
            "collector.unreachable", f"{address} does not answer",
            "Is a firewall between, or is the host down?",
        )  # fmt: skip
    except OSError as fault:
        yield error(
            "collector.unreachable", f"{address} cannot be reached: {fault.strerror or fault}",
            "Is there a route to this network?",
        )  # fmt: skip


def _where_instead(destination: Destination) -> str:
    port, protocol = OTHER_PORT.get(destination.port, (0, ""))
    if port:
        try:
            socket.create_connection((destination.host, port), destination.timeout).close()
            return f"Port {port} is open there: use it with {PROTOCOL}={protocol}."
        except OSError:
            pass
    if destination.host in ("localhost", "127.0.0.1", "::1"):
        return (
            f"Start the collector, or name its host in {PREFIX}ENDPOINT (in a container localhost"
            " is the container)."
        )
    return "Is the collector running, and does its receiver listen on 0.0.0.0 instead of localhost?"


def _look_inside_tls(destination: Destination) -> Iterator[Finding]:
    try:
        context = make_context(destination.otlp)
    except OSError as fault:
        yield file_fault(destination.otlp, fault)
        return
    certificates = []

    def connect() -> socket.socket:
        plain = destination.connect()
        try:
            secured = context.wrap_socket(plain, server_hostname=destination.host)
        except OSError:
            plain.close()
            raise
        certificates.append(secured.getpeercert())
        return secured

    try:
        with connect():
            pass
        speech = destination.ask(connect)
        if speech == "unknown" and destination.otlp.protocol != GRPC:
            # gRPC hangs up on whoever does not ask for HTTP/2 in the handshake.
            context.set_alpn_protocols(["h2"])
            speech = "grpc" if destination.ask(connect) == "grpc" else speech
    except OSError as fault:
        yield _ended(destination, context, fault)
        return
    if speech == "unknown" and (hung_up := _hangs_up(destination, context)):
        yield hung_up
        return
    yield from check_certificate(destination.address, certificates[0])
    yield from _speech(destination, speech)


def _ended(destination: Destination, context: ssl.SSLContext, fault: OSError) -> Finding:
    """Why TLS did not come to stand, or did not stand for long."""
    if isinstance(fault, ssl.SSLError) and not isinstance(fault, ssl.SSLEOFError):
        return handshake_fault(destination.address, destination.otlp, fault)
    return _hangs_up(destination, context) or error(
        "collector.tls", f"{destination.address} ends the TLS handshake: {fault}",
        "Does it speak TLS? Else use http:// in the endpoint.",
    )  # fmt: skip


def _hangs_up(destination: Destination, context: ssl.SSLContext) -> Finding | None:
    """Whether it is for the client's certificate that a connection ends without a word.

    In TLS 1.3 a server looks at it after the client's handshake, and what it says may be lost with
    the connection. In TLS 1.2 the handshake itself fails (RFC 8446, appendix E; RFC 5246).
    """
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        with (
            destination.connect() as plain,
            context.wrap_socket(plain, server_hostname=destination.host),
        ):
            return None
    except TimeoutError:
        return None
    except ssl.SSLError as fault:
        found = handshake_fault(destination.address, destination.otlp, fault)
        return found if "client" in found.check or isinstance(fault, ssl.SSLEOFError) else None
    except OSError:
        return client_fault(destination.address, destination.otlp)


def _speech(destination: Destination, speech: Speech) -> Iterator[Finding]:
    address, wanted = destination.address, destination.otlp.protocol
    if speech == "tls":
        yield error(
            "collector.tls_wanted", f"{address} speaks TLS", "Use https:// in the endpoint."
        )
    elif speech == "silent":
        yield error(
            "collector.silent", f"{address} takes connections and says nothing",
            "Does something else listen there, or is the collector stuck?",
        )  # fmt: skip
    elif speech == "grpc" and wanted != GRPC:
        yield error(
            "collector.speaks_grpc", f"{address} speaks gRPC, and HTTP is sent to it",
            f"Use its port for HTTP (mostly {HTTP_PORT}), or set {PROTOCOL}={GRPC} with pip install"
            " 'avatar-telemetry[grpc]'.",
        )  # fmt: skip
    elif speech == "http" and wanted == GRPC:
        yield error(
            "collector.speaks_http", f"{address} speaks HTTP/1.1, and gRPC is sent to it",
            f"Use its port for gRPC (mostly {GRPC_PORT}), or set {PROTOCOL}={HTTP}.",
        )  # fmt: skip
    elif speech == "unknown":
        yield warning(
            "collector.unknown", f"{address} speaks neither HTTP nor gRPC", _advice(destination)
        )
    else:
        yield good("collector.speaks", f"{address} speaks {'gRPC' if speech == 'grpc' else 'HTTP'}")


def _advice(destination: Destination) -> str:
    advice = "Is it an OTLP receiver?"
    if destination.secure and not destination.otlp.client_certificate:
        advice += f" One that wants a client certificate ({CLIENT}) may hang up like this."
    return advice
