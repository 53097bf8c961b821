"""The settings: one frozen value, built once from a mapping, every fault told at once.

settings = Settings.from_env(os.environ)
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from avatar_telemetry.errors import SettingsError

Network = IPv4Network | IPv6Network
Privacy = Literal["strict", "balanced", "off"]
T = TypeVar("T")

OWN_PREFIX = "AVATAR_TELEMETRY_"
DEFAULT_APP = "avatar_telemetry.demo:application"
DEFAULT_PROFILE = "avatar_telemetry.profiles.ivatar:PROFILE"
DEFAULT_SIZES = "16,20,24,32,40,48,64,80,96,100,120,128,150,160,192,200,256,300,400,512"
SHOWN_VALUE = 80


@dataclass(frozen=True)
class Allow:
    """Whom a setting lets in: who may read ``/metrics``, or which proxies are trusted.

    Args:
        networks: addresses.
        unix: whether a caller on a unix socket counts, which has no address.
    """

    networks: tuple[Network, ...] = ()
    unix: bool = False


@dataclass(frozen=True)
class Setting:
    """One variable: its name, what is allowed, and how its text becomes a value.

    Args:
        variable: the environment variable.
        parse: text -> value; raises ``ValueError`` where the text is not allowed.
        default: the text that stands for an unset (or empty) variable.
        allowed: what an operator may write, for error messages and the reference.
        meaning: one sentence for the reference.
        alias: an older name of the same variable.
        empty: whether an empty text is a value of its own instead of "unset".
        secret: whether the value must not be shown.
    """

    variable: str
    parse: Callable[[str], Any]
    default: str
    allowed: str
    meaning: str
    alias: str = ""
    empty: bool = False
    secret: bool = False


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters")
    return text


def _boolean(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    return words[text.strip().lower()]


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ValueError(word)
        return word

    return parse


def _reference(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", text):
        raise ValueError(text)
    return text


def _path(text: str) -> str:
    if text and not re.fullmatch(r"/[\w./~-]*", text, re.ASCII):
        raise ValueError(text)
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 60:
        raise ValueError(text)
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if not 100 <= count <= 1_000_000:
        raise ValueError(text)
    return count


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(sorted({int(word) for word in text.split(",")}))
    if not all(0 < size <= 65_535 for size in sizes) or len(sizes) > 100:
        raise ValueError(text)
    return sizes


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(word.strip()) for word in text.split(",") if word.strip())


def _allow(text: str) -> Allow:
    words = [word.strip() for word in text.split(",") if word.strip()]
    networks = ",".join(word for word in words if word.lower() != "unix")
    return Allow(_networks(networks), "unix" in map(str.lower, words))


def _token(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9._~+/=-]{8,}", text):
        raise ValueError("not a bearer token")
    return text


def _host_port(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, colon, port = text.strip().rpartition(":")
    if not colon or not re.fullmatch(r"\d{1,5}", port, re.ASCII) or not 0 < int(port) <= 65_535:
        raise ValueError(text)
    if not re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[\w.-]*", host, re.ASCII):
        raise ValueError(text)
    return host.strip("[]"), int(port)


def _url(text: str) -> str:
    url = urlsplit(text.strip())
    if text and (url.scheme not in ("http", "https") or not url.hostname or url.username):
        raise ValueError("not an endpoint")
    return url.geturl()


def _attributes(text: str) -> tuple[tuple[str, str], ...]:
    # The form of the OpenTelemetry resource SDK specification: W3C Baggage without metadata.
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise ValueError(text)
    return tuple((unquote(key.strip()), unquote(value.strip())) for key, _, value in pairs)


_TRUTH = "true or false"
_MODULE_NAME = "module:NAME"
_ADDRESSES = "networks such as 10.0.0.0/8, comma-separated"

SETTINGS: Mapping[str, Setting] = {
    "export_enabled": Setting(
        "OTEL_EXPORT_ENABLED", _boolean, "false", _TRUTH,
        "Record spans and export over OTLP. Metrics and /metrics work without it.",
        alias="OTEL_ENABLED",
    ),
    "sdk_disabled": Setting(
        "OTEL_SDK_DISABLED", lambda text: text.strip().lower() == "true", "false", _TRUTH,
        "Leave the application untouched: no spans, no metrics, no /metrics.",
    ),
    "service_name": Setting(
        "OTEL_SERVICE_NAME", _text, "ivatar", "printable text", "Name of the service."
    ),
    "environment": Setting(
        "OTEL_ENVIRONMENT", _text, "development", "printable text",
        "deployment.environment and deployment.environment.name of the resource.",
    ),
    "otlp_endpoint": Setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT", _url, "", "an http or https URL without user name",
        "OTLP collector.",
    ),
    "prometheus_endpoint": Setting(
        "OTEL_PROMETHEUS_ENDPOINT", _host_port, "", "host:port, or empty for none",
        "Separate port that serves the merged metrics.", empty=True,
    ),
    "service_version": Setting(
        "IVATAR_VERSION", _text, "2.0", "printable text", "service.version of the resource."
    ),
    "hostname": Setting(
        "HOSTNAME", _text, "unknown", "printable text", "service.instance.id of the resource."
    ),
    "resource_attributes": Setting(
        "OTEL_RESOURCE_ATTRIBUTES", _attributes, "", "key=value pairs, comma-separated",
        "More resource attributes; they win over all others.",
    ),
    "multiproc_dir": Setting(
        "PROMETHEUS_MULTIPROC_DIR", _text, "", "a folder",
        "Runtime folder of the metric files; unset: a private one in memory.",
    ),
    "app": Setting(
        OWN_PREFIX + "APP", _reference, DEFAULT_APP, _MODULE_NAME,
        "Application that the repository's wsgi.py wraps.",
    ),
    "profile": Setting(
        OWN_PREFIX + "PROFILE", _reference, DEFAULT_PROFILE, _MODULE_NAME,
        "What the layer knows about the application.",
    ),
    "privacy": Setting(
        OWN_PREFIX + "PRIVACY", _one_of("strict", "balanced", "off"), "balanced",
        "strict, balanced or off", "What of a client may leave the process.",
    ),
    "metrics_path": Setting(
        OWN_PREFIX + "METRICS_PATH", _path, "/metrics", "a path, or empty for off",
        "Path of the merged metrics.", empty=True,
    ),
    "metrics_token": Setting(
        OWN_PREFIX + "METRICS_TOKEN", _token, "",
        "at least 8 letters, digits or ._~+/=- (RFC 6750)",
        "Bearer token that opens the metrics to any caller.", secret=True,
    ),
    "metrics_allow": Setting(
        OWN_PREFIX + "METRICS_ALLOW", _allow, "127.0.0.0/8,::1,unix",
        _ADDRESSES + ", and the word unix",
        "Who may read the metrics without a token; empty: nobody.", empty=True,
    ),
    "trusted_proxies": Setting(
        OWN_PREFIX + "TRUSTED_PROXIES", _allow, "", _ADDRESSES + ", and the word unix",
        "Proxies whose word about the client's address is taken.",
    ),
    "sizes": Setting(
        OWN_PREFIX + "SIZES", _sizes, DEFAULT_SIZES, "pixels from 1 to 65535, comma-separated",
        "Values of the size label; all others become other.",
    ),
    "flush_timeout": Setting(
        OWN_PREFIX + "FLUSH_TIMEOUT", _seconds, "3", "seconds from 0 to 60",
        "How long a worker's exit may wait for telemetry.",
    ),
    "max_series": Setting(
        OWN_PREFIX + "MAX_SERIES", _count, "10000", "a number from 100 to 1000000",
        "Ceiling on the series of a worker.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Everything an operator can set. Build it with :meth:`from_env`.

    The fields are those of :data:`SETTINGS`, where each is described.
    """

    export_enabled: bool
    sdk_disabled: bool
    service_name: str
    environment: str
    otlp_endpoint: str
    prometheus_endpoint: tuple[str, int] | None
    service_version: str
    hostname: str
    resource_attributes: tuple[tuple[str, str], ...]
    multiproc_dir: str
    app: str
    profile: str
    privacy: Privacy
    metrics_path: str
    metrics_token: str = field(repr=False)
    metrics_allow: Allow
    trusted_proxies: Allow
    sizes: tuple[int, ...]
    flush_timeout: float
    max_series: int

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check every variable.

        Args:
            environ: such as ``os.environ``. An empty text counts as unset, as the OpenTelemetry
                specification has it, except where empty means "off".

        Raises:
            SettingsError: one message with a line for each fault.
        """
        faults = _unknown(environ)
        values: dict[str, Any] = {}
        for name, setting in SETTINGS.items():
            try:
                values[name] = setting.parse(_raw(environ, setting))
            except (ValueError, KeyError):
                faults.append(_fault(environ, setting))
        if faults:
            lines = "\n".join(f"  {fault}" for fault in faults)
            raise SettingsError(f"avatar_telemetry: the configuration cannot be used\n{lines}")
        return cls(**values)


def sdk_disabled(environ: Mapping[str, str]) -> bool:
    """Whether ``OTEL_SDK_DISABLED`` switches the layer off; looks at nothing else."""
    setting = SETTINGS["sdk_disabled"]
    return bool(setting.parse(_raw(environ, setting)))


def _raw(environ: Mapping[str, str], setting: Setting) -> str:
    for variable in filter(None, (setting.variable, setting.alias)):
        text = environ.get(variable)
        if text or (text is not None and setting.empty):
            return text
    return setting.default


def _fault(environ: Mapping[str, str], setting: Setting) -> str:
    variable = setting.variable if environ.get(setting.variable) else setting.alias
    text = _raw(environ, setting)
    # A URL with a user name and password in it is a secret, too.
    value = "(not shown)" if setting.secret or "@" in text else repr(text[:SHOWN_VALUE])
    return f"{variable or setting.variable}={value}: allowed is {setting.allowed}"


def _unknown(environ: Mapping[str, str]) -> list[str]:
    """A misspelt variable of ours would else be a setting that silently does nothing."""
    known = [s.variable for s in SETTINGS.values() if s.variable.startswith(OWN_PREFIX)]
    faults = []
    for variable in sorted(environ):
        if variable.startswith(OWN_PREFIX) and variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            faults.append(f"{variable}: no such setting{hint}")
    return faults
