"""TLS of a collector: every fault by its name."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from typing import Any

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from avatar_telemetry.cli.checks.finding import Finding, error, good, warning
from avatar_telemetry.config.otlp import GRPC, PREFIX, PROTOCOL, Otlp

TRUST = PREFIX + "CERTIFICATE"
CLIENT, KEY = PREFIX + "CLIENT_CERTIFICATE", PREFIX + "CLIENT_KEY"
# Above OTEL_EXPORTER_OTLP_CERTIFICATE's default, as requests reads them.
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SOON = 7 * 86_400
"""Seconds; by then a certificate that renews itself has done so."""

# X509_V_ERR_* of OpenSSL (x509_vfy.h).
NAMED = {
    9: ("not_yet_valid", "is not valid yet", "Are both clocks right?"),
    10: ("expired", "has expired", "Renew it at the collector; is this host's clock right?"),
    18: ("self_signed", "is self-signed", f"Name that certificate in {TRUST}."),
    19: ("unknown_authority", "is of a private authority", f"Name its certificate in {TRUST}."),
    20: (
        "unknown_authority", "is of an authority that is not trusted here",
        f"Name its certificate in {TRUST}, or let the collector send the intermediate one.",
    ),
    21: ("unknown_authority", "comes without its authority's", f"Name that in {TRUST}."),
    62: ("wrong_host", "is for another host", "Use the name it is for in the endpoint."),
    64: ("wrong_host", "is for another address", "Use the name it is for in the endpoint."),
}  # fmt: skip
NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
CLIENT_WANTED = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "ALERT_BAD_CERTIFICATE")
CLIENT_REFUSED = ("UNKNOWN_CA", "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED", "ACCESS_DENIED")


def make_context(otlp: Otlp) -> ssl.SSLContext:
    """What the exporter would secure the connection with.

    Raises:
        OSError: a file cannot be used (``ssl.SSLError`` is one).
    """
    bundle = next((os.environ[name] for name in BUNDLES if os.environ.get(name)), "")
    trusted = otlp.certificate or bundle or DEFAULT_CA_BUNDLE_PATH
    folder = os.path.isdir(trusted)
    context = ssl.create_default_context(
        cafile=None if folder else trusted, capath=trusted if folder else None
    )
    # As the exporters ask for it: a server of gRPC hangs up on who does not (RFC 7301).
    context.set_alpn_protocols(["h2" if otlp.protocol == GRPC else "http/1.1"])
    if otlp.client_certificate:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(otlp.client_certificate, otlp.client_key, password=lambda: "")
    return context


def file_fault(otlp: Otlp, fault: OSError) -> Finding:
    """What is wrong with a certificate or key of ours."""
    reason = (getattr(fault, "reason", "") or str(fault)).replace("_", " ").lower()
    if "values mismatch" in reason:
        advice = f"{KEY} must be the key of {CLIENT}."
    elif otlp.client_certificate and "crl" not in reason:
        advice = f"{TRUST}, {CLIENT} and {KEY} must be PEM files, the key without a password."
    else:
        advice = f"{TRUST} must be a PEM file with certificates."
    return error("collector.tls_files", f"the certificate files cannot be used: {reason}", advice)


def handshake_fault(address: str, otlp: Otlp, fault: ssl.SSLError) -> Finding:
    """Why no TLS came to stand."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        what, message, advice = NAMED.get(
            fault.verify_code,
            ("not_accepted", f"is not accepted: {fault.verify_message}", "Replace it."),
        )
        return error(f"collector.tls_{what}", f"the certificate of {address} {message}", advice)
    reason = fault.reason or str(fault)
    if any(word in reason for word in NO_TLS):
        return error(
            "collector.tls_not_spoken", f"{address} does not speak TLS",
            "Use http:// in the endpoint, or turn TLS on at the collector.",
        )  # fmt: skip
    if any(word in reason for word in CLIENT_REFUSED + CLIENT_WANTED) or isinstance(
        fault, ssl.SSLEOFError
    ):
        return client_fault(address, otlp)
    if "NO_APPLICATION_PROTOCOL" in reason:
        return error(
            "collector.tls_protocol", f"{address} does not speak {otlp.protocol}",
            f"Use its other port, or another {PROTOCOL}.",
        )  # fmt: skip
    words = reason.replace("_", " ").lower()
    return error(
        "collector.tls", f"TLS with {address} fails: {words}",
        "Do both sides speak TLS 1.2 or 1.3?",
    )  # fmt: skip


def client_fault(address: str, otlp: Otlp) -> Finding:
    """The collector wants to see a certificate of its client, or another one."""
    if otlp.client_certificate:
        return error(
            "collector.tls_client_refused", f"{address} does not accept the client's certificate",
            f"Is {CLIENT} of an authority that the collector trusts, and valid?",
        )  # fmt: skip
    return error(
        "collector.tls_client_wanted", f"{address} wants a client certificate",
        f"Set {CLIENT} and {KEY}.",
    )  # fmt: skip


def check_certificate(address: str, certificate: dict[str, Any] | None) -> Iterator[Finding]:
    """How long the collector's certificate is good for."""
    if not certificate or "notAfter" not in certificate:
        return
    left = ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()
    yield good("collector.tls_good", f"the certificate of {address} is accepted")
    if left < SOON:
        yield warning(
            "collector.tls_expires",
            f"the certificate of {address} expires in {left / 86_400:.0f} days",
            "Renew it in time: when it has expired nothing arrives.",
        )  # fmt: skip
