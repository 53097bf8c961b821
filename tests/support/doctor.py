"""The doctor's checks of a collector, and the settings that they take."""

from __future__ import annotations

from avatar_telemetry.cli.checks.collector import check_collector
from avatar_telemetry.cli.checks.finding import Finding
from avatar_telemetry.config.settings import Settings
from tests.support.certificates import Authority
from tests.support.waiting import DEADLINE

GRPC_PROTOCOL = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
TRUSTED, CLIENT, STRANGER = "trusted", "client", "stranger"
EXPIRES = {"collector.tls_expires": "warning"}


def examine(
    endpoint: str, *, send: bool = True, timeout: float = DEADLINE, **env: str
) -> list[Finding]:
    settings = Settings.from_env(
        {
            "OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_TIMEOUT": str(DEADLINE), **env,
        }
    )  # fmt: skip
    return list(check_collector(settings, send=send, timeout=timeout))


def bad(findings: list[Finding]) -> dict[str, str]:
    """The checks that found something, and how bad it is; each says what to do."""
    found = [each for each in findings if each.level in ("warning", "error")]
    assert all(each.advice for each in found)
    return {each.check: each.level for each in found}


def tls_settings(authority: Authority, *words: str) -> dict[str, str]:
    """Settings that trust the authority, and show a client's certificate."""
    prefix = "OTEL_EXPORTER_OTLP_"
    env = {}
    if TRUSTED in words:
        env[prefix + "CERTIFICATE"] = str(authority.certificate.path)
    for word in (CLIENT, STRANGER):
        if word in words:
            made = authority.issue(word) if word == CLIENT else authority.self_signed(word)
            env[prefix + "CLIENT_CERTIFICATE"] = str(made.path)
            env[prefix + "CLIENT_KEY"] = str(made.key)
    return env
