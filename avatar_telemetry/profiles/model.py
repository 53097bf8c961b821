"""Profiles: the routes of an application, and the meaning of their responses.

A profile is one frozen value. It maps a path to a :class:`Route`, which describes everything else,
so that no other module contains a URL of an application.

    PROFILE = Profile(
        name="shop",
        routes=(
            Route(r"^/picture/\\w+", "/picture/{id}", kind="avatar"),
            Route(r"^/login$", "/login", kind="auth", operation="login", succeeded=redirects),
        ),
    )
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from avatar_telemetry._base.errors import ProfileError
from avatar_telemetry._base.memo import Memo

Kind = Literal["avatar", "upload", "import", "auth", "stats", "static", "page", "other"]
SuccessRule = Callable[[str, int, str], "bool | None"]
"""``(method, status code, Location or "") -> success``; ``None``: the request attempted nothing."""

# Neither an optional slash nor a "$", which also matches before a final newline, determines the
# first segment.
_LITERAL_SEGMENT = re.compile(r"\^/([A-Za-z0-9_-]+)(?:/(?![?*{])|\\Z)")
_LITERAL_PATH = re.compile(r"\^(/[A-Za-z0-9_/-]*)(?:\$|\\Z)")
# Unreserved characters (RFC 3986, section 2.3): a listed value is put into a URL unchanged.
_QUERY_VALUE = re.compile(r"[A-Za-z0-9._~-]{1,32}")
_GROUPS = (("digest",), ("email",))


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request.

    Args:
        pattern: a regular expression, searched (not matched) in the decoded path, which begins with
            ``/``. A pattern that begins with ``^/name/`` costs nothing for other paths, and
            ``^/whole/path\\Z`` needs no search.
        template: the replacement of the path in labels and span names, without client data.
        kind: the kind of request, which determines what is recorded.
        operation: the value of the ``operation`` label, for ``auth`` and ``import``.
        succeeded: a function that derives success from the response, for ``upload``, ``import`` and
            ``auth``.
        fetches: whether an attempt succeeds only if an outside service returned a document.
        fields: the fields of the multipart form that must have content (such as a checked checkbox)
            for an attempt to succeed.
        cached: whether requests of this route look into the avatar cache.
        service: the outside service that the route is a proxy of, or empty.
        reveals: a regular expression with one group, named ``digest`` or ``email``, around the
            personal part of the path. It is searched only while a span is recorded.
    """

    pattern: str
    template: str
    kind: Kind = "page"
    operation: str = ""
    succeeded: SuccessRule | None = None
    cached: bool = False
    service: str = ""
    reveals: str = ""
    fetches: bool = False
    fields: frozenset[str] = frozenset()


PIXELS: Literal["pixels"] = "pixels"
QueryRule = frozenset[str] | Literal["pixels"]
"""The values of a query key that may be recorded: these, or any number of up to 5 digits."""
PERSONAL = ("digest", "email")
MAX_PERSONAL_LENGTH = 255
MAX_CACHED_PATHS = 1024
"""Paths in each half of the cache of routes."""
MAX_CACHED_LENGTH = 128
"""Characters of a path in the cache; that of an avatar has 72."""

Search = Callable[[str], "re.Match[str] | None"]
Candidates = tuple[tuple[Search, Route], ...]


def no_size(query: str) -> int | None:
    """Return ``None``: the application has no requested size."""
    return None


@dataclass(frozen=True)
class Profile:
    """The description of one application.

    Args:
        name: the name in logs and in the ``profile`` label of ``avatar_telemetry_build_info``.
        routes: the routes; the first whose pattern is found in the path is used.
        size: a function from the raw query string to the requested edge in pixels, or ``None``.
        generators: ``module:attribute.path`` of each callable that draws a picture.
        avatar_cache: the caches whose lookups are those of *the* avatar cache: the name of a cache
            that a probe reports (``pymemcache``), or ``module:Class.get`` of the application.
        services: host name -> ``service`` label of outside calls; a subdomain counts as its host.
        image_without_generator: ``uploaded`` if a picture that no generator drew and no outside
            service sent must be an uploaded one; else empty.
        query: query key that may be recorded -> its values that may be recorded. Every other key is
            omitted, every other value redacted.
        error_loggers: the loggers, besides ``django.request``, whose records of level ERROR with an
            exception explain a failed request; each includes its child loggers.
        application_routes: whether a path without a route is recorded with the application's own
            route, if a probe reports one, instead of as :attr:`other`.

    Raises:
        ProfileError: a pattern does not compile, a kind is unknown, or a rule is missing.
    """

    name: str
    routes: tuple[Route, ...] = ()
    size: Callable[[str], int | None] = no_size
    generators: tuple[str, ...] = ()
    avatar_cache: tuple[str, ...] = ()
    services: Mapping[str, str] = field(default_factory=dict)
    image_without_generator: Literal["", "uploaded"] = ""
    query: Mapping[str, QueryRule] = field(default_factory=dict)
    error_loggers: tuple[str, ...] = ()
    application_routes: bool = False
    other: Route = Route("", "other", "other")
    _candidates: Mapping[bool, Mapping[str, Candidates]] = field(
        init=False, repr=False, compare=False
    )
    _exact: Mapping[str, Route] = field(init=False, repr=False, compare=False)
    _reveals: Mapping[str, Search] = field(init=False, repr=False, compare=False)
    _known: Memo[str, Route] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        faults = [fault for route in (*self.routes, self.other) for fault in _faults(route)]
        faults += [
            f"{target!r} is not module:attribute"
            for target in self.generators
            if not re.fullmatch(r"[\w.]+:[\w.]+", target)
        ]
        faults += [fault for key, rule in self.query.items() for fault in _query_faults(key, rule)]
        if faults:
            raise ProfileError(f"profile {self.name!r}: " + "; ".join(faults))
        candidates = {is_ascii: _index(self.routes, is_ascii) for is_ascii in (True, False)}
        object.__setattr__(self, "_candidates", candidates)
        literals = [_LITERAL_PATH.fullmatch(route.pattern) for route in self.routes]
        object.__setattr__(self, "_exact", {})
        exact = {literal[1]: self._search(literal[1]) for literal in literals if literal}
        object.__setattr__(self, "_exact", exact)
        revealing = {route.reveals for route in (*self.routes, self.other) if route.reveals}
        reveals = {pattern: re.compile(pattern).search for pattern in revealing}
        object.__setattr__(self, "_reveals", reveals)
        known = Memo(self._search, MAX_CACHED_PATHS, lambda path: len(path) <= MAX_CACHED_LENGTH)
        object.__setattr__(self, "_known", known)

    def route(self, path: str) -> Route:
        """Return the route of a path.

        Args:
            path: ``PATH_INFO`` as WSGI passes it (PEP 3333: bytes decoded as Latin-1).

        Returns:
            The first route that matches, or :attr:`other`.
        """
        return self._known[path]

    def personal(self, route: Route, path: str) -> tuple[str, str] | None:
        """Return the personal part of a path.

        Args:
            route: the route of the path.
            path: ``PATH_INFO`` as WSGI passes it.

        Returns:
            ``("digest" or "email", the raw text)``, or ``None`` if it has neither.
        """
        search = self._reveals.get(route.reveals)
        found = search(_decoded(path)) if search is not None else None
        kind = found.lastgroup if found is not None else None
        if found is None or kind is None:
            return None
        return kind, found[kind][:MAX_PERSONAL_LENGTH]

    def _search(self, path: str) -> Route:
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        path = _decoded(path)
        candidates = self._candidates[path.isascii()]
        end = path.find("/", 1)
        first = path[1:] if end < 0 else path[1:end]
        for search, route in candidates.get(first) or candidates[""]:
            if search(path):
                return route
        return self.other


def _decoded(path: str) -> str:
    """Return the path as the application decodes it, from the Latin-1 of WSGI (PEP 3333)."""
    if path.isascii():
        return path
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _faults(route: Route) -> list[str]:
    faults = []
    for pattern in filter(None, (route.pattern, route.reveals)):
        try:
            re.compile(pattern)
        except (re.error, OverflowError) as error:
            faults.append(f"pattern {pattern!r}: {error}")
    if route.reveals and not faults and tuple(re.compile(route.reveals).groupindex) not in _GROUPS:
        faults.append(f"reveals {route.reveals!r}: needs one group, named one of {PERSONAL}")
    if route.kind not in get_args(Kind):
        faults.append(f"{route.template!r}: kind {route.kind!r} is none of {get_args(Kind)}")
    if route.kind in ("upload", "import", "auth") and route.succeeded is None:
        faults.append(f"{route.template!r}: kind {route.kind!r} needs succeeded=")
    if route.kind in ("import", "auth") and not route.operation:
        faults.append(f"{route.template!r}: kind {route.kind!r} needs operation=")
    return faults


def _query_faults(key: str, rule: QueryRule) -> list[str]:
    if not _QUERY_VALUE.fullmatch(key):
        return [f"query key {key!r}: must be 1 to 32 letters, digits or ._~-"]
    if rule == PIXELS:
        return []
    if isinstance(rule, frozenset) and all(_QUERY_VALUE.fullmatch(value) for value in rule):
        return []
    return [f"query key {key!r}: {rule!r} is neither {PIXELS!r} nor a frozenset of plain values"]


def _index(routes: tuple[Route, ...], is_ascii: bool) -> Mapping[str, Candidates]:
    """Return the routes that a path can match, in their order, by its first segment.

    Args:
        routes: the routes of the profile.
        is_ascii: whether the paths are ASCII, which allows a faster search with the same result.
    """
    anchored = [
        (route, None if "|" in route.pattern else _LITERAL_SEGMENT.match(route.pattern))
        for route in routes
    ]
    segments = {""} | {literal[1] for _, literal in anchored if literal}
    return {
        segment: tuple(
            (_compile(route.pattern, is_ascii).search, route)
            for route, literal in anchored
            if literal is None or literal[1] == segment
        )
        for segment in segments
    }


def _compile(pattern: str, is_ascii: bool) -> re.Pattern[str]:
    if is_ascii:
        try:
            return re.compile(pattern, re.ASCII)
        except ValueError:
            pass  # a pattern with (?u)
    return re.compile(pattern)
