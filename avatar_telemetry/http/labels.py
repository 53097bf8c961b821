"""The closed sets of label values, to which data of a client or an application is mapped.

Every function looks its value up in a table. None raises for a string.
"""

from __future__ import annotations

from collections.abc import Mapping

OTHER = "other"
NONE = "none"

METHODS = (
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "QUERY", OTHER,
)  # fmt: skip
"""The methods of RFC 9110, PATCH and QUERY, which the semantic conventions define as known.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/ (``http.request.method``). The others
in the IANA registry belong to WebDAV; each would multiply the series that a client can create.
"""
STATUSES = (*(str(code) for code in range(100, 600)), OTHER)
SWITCHED = "101"
"""The status of a protocol switch."""
FORMATS = ("png", "jpg", "gif", "webp", "svg", "avif", OTHER, NONE)
UPLOAD_TYPES = (
    "image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml", "image/avif", OTHER,
)  # fmt: skip
SOURCES = ("uploaded", "generated", "external", OTHER)
AUTH_OPERATIONS = ("login", "logout", "register", "password_reset", "openid")

# A longer text after the last dot is more likely a part of the name than a suffix.
MAX_SUFFIX_LENGTH = 5
# RFC 1035, section 2.3.4; also bounds the loop over the labels of a name.
MAX_HOST_LENGTH = 255

KNOWN_METHODS = {method: method for method in METHODS[:-1]}
_STATUSES: dict[int | str, str] = {
    key: str(code) for code in range(100, 600) for key in (code, str(code))
}
_UPLOAD_TYPES = {
    **{name: name for name in UPLOAD_TYPES[:-1]},
    # Not registered, but sent by old browsers, and by programs that derive the type from a suffix.
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
}
FORMATS_BY_TYPE = {
    name: {"jpeg": "jpg", "svg+xml": "svg"}.get(registered[6:], registered[6:])
    for name, registered in _UPLOAD_TYPES.items()
}
_FORMATS_BY_SUFFIX = {**{form: form for form in FORMATS[:-2]}, "jpeg": "jpg"}


def method(name: str) -> str:
    """Return the label ``method``: one of :data:`METHODS`, with case (RFC 9110, section 9.1)."""
    return KNOWN_METHODS.get(name, OTHER)


def status(code: int | str) -> str:
    """Return the label ``status_code``: one of :data:`STATUSES`."""
    return _STATUSES.get(code, OTHER)


def image_format(content_type: str) -> str:
    """Return the label ``format`` for a Content-Type: one of :data:`FORMATS` but ``none``.

    Empty if the response is not an image.
    """
    known = FORMATS_BY_TYPE.get(content_type)
    if known is not None:
        return known
    essence = _essence(content_type)
    return FORMATS_BY_TYPE.get(essence) or (OTHER if essence.startswith("image/") else "")


def suffix_format(path: str) -> str:
    """Return the label ``format`` for the suffix of a path: one of :data:`FORMATS`."""
    name, dot, suffix = path[path.rfind("/") + 1 :].rpartition(".")
    if not (name and dot and 0 < len(suffix) <= MAX_SUFFIX_LENGTH):
        return NONE
    return _FORMATS_BY_SUFFIX.get(suffix.lower(), OTHER)


def reported_format(name: str) -> str:
    """Return the label ``format`` for a reported suffix or type: one of :data:`FORMATS`."""
    if "/" in name:
        return image_format(name) or OTHER
    return _FORMATS_BY_SUFFIX.get(name.lower().removeprefix("."), OTHER)


def reported_source(name: str) -> str:
    """Return the label ``source`` for a reported source: one of :data:`SOURCES`."""
    return name if name in SOURCES else OTHER


def upload_type(content_type: str) -> str:
    """Return the label ``content_type`` of an uploaded file: one of :data:`UPLOAD_TYPES`."""
    return _UPLOAD_TYPES.get(_essence(content_type), OTHER)


def size_label(pixels: int | None, sizes: Mapping[int, str]) -> str:
    """Return the label ``size``: the text in ``sizes``, or ``other``."""
    return OTHER if pixels is None else sizes.get(pixels, OTHER)


def service(host: str, services: Mapping[str, str]) -> str:
    """Return the label ``service`` of an outside call.

    Args:
        host: the host without port, in any case, with or without the dot of the root.
        services: host name in lower case -> label; a subdomain counts as its nearest listed host.
    """
    return services.get(known_host(host, services), OTHER)


def known_host(host: str, services: Mapping[str, str]) -> str:
    """Return the listed host that a host is or is a subdomain of; empty if there is none."""
    if len(host) > MAX_HOST_LENGTH:
        return ""
    name = host.lower().removesuffix(".")
    while name and name not in services:
        name = name.partition(".")[2]
    return name


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
