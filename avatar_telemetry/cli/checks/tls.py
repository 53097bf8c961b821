"""TLS of a collector: the files, the handshake, the certificate."""

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
# requests prefers these to its own bundle.
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
MIN_VALIDITY = 7 * 86_400
"""Seconds before the expiry, when an automatic renewal should have happened."""

# X509_V_ERR_* of OpenSSL (x509_vfy.h).
VERIFICATION = {
    9: ("not_yet_valid", "is not valid yet", "Check the clocks of both hosts."),
    10: ("expired", "has expired", "Renew it at the collector; check the clock of this host."),
    18: ("self_signed", "is self-signed", f"Name that certificate in {TRUST}."),
    19: ("unknown_authority", "has a private root CA", f"Name the CA's certificate in {TRUST}."),
    20: ("unknown_authority", "was issued by a CA that is not trusted here",
         f"Name the CA's certificate in {TRUST}, or let the collector send the intermediate one."),
    21: ("unknown_authority", "is sent without the CA's certificate", f"Name that in {TRUST}."),
    62: ("wrong_host", "is for another host", "Use its host name in the endpoint."),
    64: ("wrong_host", "is for another IP address", "Use its address in the endpoint."),
}  # fmt: skip
# Reasons of ssl.SSLError: the peer does not send TLS, or sends an alert (RFC 8446, section 6.2).
NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
CLIENT_ALERTS = (
    "CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "ALERT_BAD_CERTIFICATE", "UNKNOWN_CA",
    "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED", "ACCESS_DENIED",
)  # fmt: skip


def make_context(otlp: Otlp) -> ssl.SSLContext:
    """Return a context with the certificates and the ALPN protocol of the exporter.

    Raises:
        OSError: a file cannot be used (``ssl.SSLError`` is one).
    """
    bundle = next((os.environ[name] for name in BUNDLES if os.environ.get(name)), "")
    trusted = otlp.certificate or bundle or DEFAULT_CA_BUNDLE_PATH
    is_directory = os.path.isdir(trusted)
    context = ssl.create_default_context(
        cafile=None if is_directory else trusted, capath=trusted if is_directory else None
    )
    context.set_alpn_protocols(["h2" if otlp.protocol == GRPC else "http/1.1"])
    if otlp.client_certificate:
        # Without a password OpenSSL would prompt for one on the terminal.
        context.load_cert_chain(otlp.client_certificate, otlp.client_key, password=lambda: "")
    return context


def file_fault(otlp: Otlp, fault: OSError) -> Finding:
    """Return the finding for a certificate or key file that cannot be used."""
    reason = _reason(fault)
    if "values mismatch" in reason:
        advice = f"{KEY} must be the key of {CLIENT}."
    elif otlp.client_certificate and "crl" not in reason:
        advice = f"{TRUST}, {CLIENT} and {KEY} must be PEM files, the key without a password."
    else:
        advice = f"{TRUST} must be a PEM file with certificates."
    return error("collector.tls_files", f"the certificate files cannot be used: {reason}", advice)


def handshake_fault(address: str, otlp: Otlp, fault: OSError) -> Finding:
    """Return the finding for a failed handshake, or an alert right after it."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        name, message, advice = VERIFICATION.get(
            fault.verify_code,
            ("not_accepted", f"is not accepted: {fault.verify_message}", "Replace it."),
        )
        return error(f"collector.tls_{name}", f"the certificate of {address} {message}", advice)
    reason = getattr(fault, "reason", "") or ""
    if any(each in reason for each in NO_TLS):
        return error("collector.tls_not_used", f"{address} does not use TLS",
                     "Use http:// in the endpoint, or enable TLS at the collector.")  # fmt: skip
    if any(each in reason for each in CLIENT_ALERTS):
        return client_fault(address, otlp)
    if "NO_APPLICATION_PROTOCOL" in reason:
        return error("collector.tls_protocol", f"{address} does not support {otlp.protocol}",
                     f"Use its other port, or another {PROTOCOL}.")  # fmt: skip
    return error(
        "collector.tls", f"the TLS handshake with {address} failed: {_reason(fault)}",
        "Check that it uses TLS 1.2 or 1.3; without TLS, use http:// in the endpoint.",
    )  # fmt: skip


def client_fault(address: str, otlp: Otlp) -> Finding:
    """Return the finding for a missing client certificate, or one that was refused."""
    if otlp.client_certificate:
        return error(
            "collector.tls_client_refused", f"{address} refuses the client certificate",
            f"Check that {CLIENT} is valid and issued by a CA that the collector trusts.",
        )  # fmt: skip
    return error("collector.tls_client_required", f"{address} requires a client certificate",
                 f"Set {CLIENT} and {KEY}.")  # fmt: skip


def check_certificate(address: str, connection: Any) -> Iterator[Finding]:
    """Check the expiry of the server certificate of a TLS connection."""
    certificate = connection.getpeercert()
    if not certificate or "notAfter" not in certificate:
        return
    left = ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()
    yield good("collector.tls_good", f"the certificate of {address} is accepted")
    if left < MIN_VALIDITY:
        yield warning(
            "collector.tls_expires",
            f"the certificate of {address} expires in {left / 86_400:.0f} days",
            "Renew it before that; an expired certificate stops the export.",
        )  # fmt: skip


def _reason(fault: OSError) -> str:
    return (getattr(fault, "reason", "") or str(fault)).replace("_", " ").lower()
