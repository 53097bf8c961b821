"""The collector: its name, port and certificate, and its response to one item of each signal."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from avatar_telemetry.cli.checks.finding import Finding, error, good, note, warning
from avatar_telemetry.cli.checks.sending import explain, has_response, is_timeout, send_test
from avatar_telemetry.cli.checks.tls import (
    check_certificate,
    client_fault,
    file_fault,
    handshake_fault,
    make_context,
)
from avatar_telemetry.config.destinations import grpc_installed, otlp_signals
from avatar_telemetry.config.otlp import (
    GRPC,
    GRPC_PORT,
    HTTP,
    HTTP_PORT,
    PREFIX,
    PROTOCOL,
    Otlp,
    Signal,
    resolve,
)
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.clients import HttpClient, Outcome

OTHER_PORT = {GRPC_PORT: (HTTP_PORT, HTTP), HTTP_PORT: (GRPC_PORT, GRPC)}
# RFC 9113, sections 4.1 and 6.5: length (3 bytes), type, flags, stream.
FRAME_HEADER, SETTINGS_FRAME = 9, b"\x04"


class Destination:
    """The collector of one signal.

    Args:
        otlp: the settings of the endpoint, with its effective protocol.
        timeout: the seconds for each step.
    """

    def __init__(self, otlp: Otlp, timeout: float) -> None:
        self.otlp, self.timeout = otlp, timeout
        parts = urlsplit(otlp.endpoint)
        self.secure = parts.scheme == "https"
        self.host, self.port = parts.hostname or "", parts.port or (443 if self.secure else 80)
        self.address = f"{self.host}:{self.port}"
        self.proxy = select_proxy(otlp.endpoint, get_environ_proxies(otlp.endpoint, no_proxy=None))

    def connect(self, context: ssl.SSLContext | None = None) -> Any:
        """Open a connection, with TLS where a context is given."""
        connection = socket.create_connection((self.host, self.port), self.timeout)
        if context is None:
            return connection
        try:
            return context.wrap_socket(connection, server_hostname=self.host)
        except OSError:
            connection.close()
            raise


def check_collector(settings: Settings, *, send: bool, timeout: float) -> Iterator[Finding]:
    """Check all collectors of the settings, and send test items, with a timeout in seconds for each
    step."""
    usable: dict[object, bool] = {}
    for signal in otlp_signals(settings):
        otlp, rule = resolve(signal, settings.otlp[signal], grpc_installed=grpc_installed())
        destination = Destination(otlp, timeout)
        # Only the path differs between the signals of one collector.
        key = (destination.address, otlp.protocol, destination.secure, otlp.certificate,
               otlp.client_certificate)  # fmt: skip
        if key not in usable:
            findings = [*_check_port_rule(otlp, rule), *_check_connection(destination)]
            usable[key] = all(each.level != "error" for each in findings)
            yield from findings
        if usable[key] and send:
            seconds = min(timeout, otlp.timeout)
            outcome = send_test(settings, signal, otlp, seconds)
            usable[key] = has_response(outcome)
            found = _other_protocol(destination, signal, outcome)
            yield found or explain(signal, otlp, outcome, seconds)


def _check_port_rule(otlp: Otlp, rule: str) -> Iterator[Finding]:
    if rule and otlp.protocol == GRPC:
        yield note("collector.port", rule)
    elif rule:
        yield warning("collector.port", rule, f"Set {PROTOCOL} and the port that belongs to it.")


def _check_connection(destination: Destination) -> Iterator[Finding]:
    """Check name, port and certificate."""
    address = destination.address
    if destination.proxy:
        yield note("collector.proxy", f"{address} is reached through the proxy of the environment",
                   "Add the host to NO_PROXY to connect directly.")  # fmt: skip
        return
    try:
        destination.connect().close()
    except socket.gaierror:
        yield error(
            "collector.name", f"the name {destination.host} does not resolve",
            f"Check the spelling in {PREFIX}ENDPOINT, and the DNS of this host or container.",
        )  # fmt: skip
    except ConnectionRefusedError:
        yield error(
            "collector.refused", f"{address} refuses connections", _other_address(destination)
        )
    except OSError as fault:
        reason = "timed out" if isinstance(fault, TimeoutError) else fault.strerror or fault
        yield error(
            "collector.unreachable", f"{address} cannot be reached: {reason}",
            "Check the route to this network, the firewall, and that the host is up.",
        )  # fmt: skip
    else:
        yield good("collector.reached", f"{address} accepts connections")
        if destination.secure:
            yield from _check_tls(destination)


def _other_address(destination: Destination) -> str:
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
    return "Check that the collector runs and its receiver listens on 0.0.0.0, not on localhost."


def _check_tls(destination: Destination) -> Iterator[Finding]:
    try:
        context = make_context(destination.otlp)
    except OSError as fault:
        yield file_fault(destination.otlp, fault)
        return
    try:
        with destination.connect(context) as connection:
            yield from check_certificate(destination.address, connection)
    except OSError as fault:
        yield handshake_fault(destination.address, destination.otlp, fault)


def _other_protocol(destination: Destination, signal: Signal, outcome: Outcome) -> Finding | None:
    """Detect TLS or the other protocol on the port, where the client uses neither.

    Returns:
        The finding, or ``None`` where the outcome itself explains the fault.
    """
    otlp, address, secure = destination.otlp, destination.address, destination.secure
    responded = has_response(outcome)
    # A server of HTTPS may respond to plain HTTP, with 400.
    rejected = getattr(outcome.response, "status_code", 0) == 400
    is_explained = responded and (secure or not rejected)
    if destination.proxy or is_explained or is_timeout(outcome):
        return None
    if not secure and _uses_tls(destination):
        return error(
            "collector.tls_required", f"{address} uses TLS", "Use https:// in the endpoint."
        )
    if otlp.protocol == GRPC and _responds_to_http(signal, destination):
        return error(
            "collector.http_port", f"{address} is a port for HTTP/1.1, but gRPC is sent to it",
            f"Use its port for gRPC (by default {GRPC_PORT}), or set {PROTOCOL}={HTTP}.",
        )  # fmt: skip
    return None if responded else _first_bytes(destination)


def _first_bytes(destination: Destination) -> Finding | None:
    """Read the first bytes of the server without a request.

    A server of gRPC sends its SETTINGS frame at once (RFC 9113, section 3.4). With TLS 1.3 a server
    checks the client certificate after the client's handshake; its alert may be lost when the
    client sends a request immediately (RFC 8446, appendix E.8).
    """
    otlp, address = destination.otlp, destination.address
    context = make_context(otlp) if destination.secure else None
    first = b""
    try:
        with destination.connect(context) as connection:
            if context is None:
                connection.shutdown(socket.SHUT_WR)  # a server that waits for a request ends now
            first = connection.recv(FRAME_HEADER)
    except TimeoutError:
        return None
    except OSError as fault:
        if isinstance(fault, ssl.SSLError) and not isinstance(fault, ssl.SSLEOFError):
            return handshake_fault(address, otlp, fault)
    ended = context is not None and not first
    is_grpc = first[3:4] == SETTINGS_FRAME or (ended and _selects_h2(destination))
    if otlp.protocol == HTTP and is_grpc:
        return error(
            "collector.grpc_port", f"{address} is a port for gRPC, but HTTP/1.1 is sent to it",
            f"Use its port for HTTP (by default {HTTP_PORT}), or set {PROTOCOL}={GRPC} with pip"
            " install 'avatar-telemetry[grpc]'.",
        )  # fmt: skip
    return client_fault(address, otlp) if ended else None


def _selects_h2(destination: Destination) -> bool:
    """Return whether the server selects HTTP/2 in the handshake (ALPN, RFC 7301)."""
    context = make_context(destination.otlp)
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with destination.connect(context) as connection:
            return bool(connection.selected_alpn_protocol() == "h2")
    except OSError:
        return False


def _uses_tls(destination: Destination) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent through it
    try:
        destination.connect(context).close()
        return True
    except ssl.SSLError as fault:
        return "ALERT" in (fault.reason or "")
    except OSError:
        return False


def _responds_to_http(signal: Signal, destination: Destination) -> bool:
    """Return whether the port responds to an empty request over HTTP."""
    endpoint = f"{destination.otlp.endpoint.rstrip('/')}/v1/{signal}"
    client = HttpClient(signal, replace(destination.otlp, protocol=HTTP, endpoint=endpoint))
    try:
        return has_response(client.send(b"", destination.timeout))
    finally:
        client.close()
