"""What the layer knows about one application: its routes and what their answers mean.

A profile is one frozen value. The layer asks it which :class:`Route` a path belongs to and reads
everything else off that route, so that no other module knows a URL of any application.

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

# A slash that may be absent, and a "$" that also stands before a final newline, prove nothing about
# the first segment.
_LITERAL_SEGMENT = re.compile(r"\^/([A-Za-z0-9_-]+)(?:/(?![?*{])|\\Z)")
_LITERAL_PATH = re.compile(r"\^(/[A-Za-z0-9_/-]*)(?:\$|\\Z)")
# What needs no percent-encoding: a listed word goes into a URL as it is.
_QUERY_WORD = re.compile(r"[A-Za-z0-9._~-]{1,32}")
_GROUPS = (("digest",), ("email",))


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request.

    Args:
        pattern: regular expression, searched (not matched) in the decoded path, which begins with
            ``/``. A pattern that begins with ``^/name/`` costs nothing for paths elsewhere, and
            ``^/whole/path\\Z`` is found without any search.
        template: what stands for the path in labels and span names. It must not hold client data.
        kind: what the layer records for it.
        operation: for ``auth`` and ``import``, the value of the ``operation`` label.
        succeeded: for ``upload``, ``import`` and ``auth``, derives success from the response alone.
        fetches: an attempt on this route succeeds only if an outside service returned a document.
        fields: an attempt on this route succeeds only if these fields of its multipart form were
            sent with content, as a ticked checkbox is.
        cached: the avatar cache is asked on this route.
        service: the outside service that the route fetches from, if it is a proxy of one.
        reveals: regular expression with one group, named ``digest`` or ``email``, around what of
            the path is personal. It is searched only while a span is recorded.
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
"""The values of a query key that may be told: these words, or any number of up to 5 digits."""
PERSONAL = ("digest", "email")
MAX_PERSONAL_LENGTH = 255
MAX_KNOWN_PATHS = 1024
"""Paths in each half of the memo of routes: the pictures of a page, and those asked for all day."""
MAX_KNOWN_LENGTH = 128
"""Characters of a path that is kept; an avatar's has 72."""

Search = Callable[[str], "re.Match[str] | None"]
Candidates = tuple[tuple[Search, Route], ...]


def no_size(query: str) -> int | None:
    """The size rule of an application whose pictures have none."""
    return None


@dataclass(frozen=True)
class Profile:
    """Everything the layer knows about one application.

    Args:
        name: for logs and for the ``profile`` label of ``avatar_telemetry_build_info``.
        routes: in order; the first whose pattern is found in the path wins.
        size: query string (as it came) -> requested edge in pixels, or ``None``.
        generators: ``module:attribute.path`` of the callables that draw a picture.
        avatar_cache: which look-ups are those of *the* avatar cache: names of caches that a probe
            reports (``pymemcache``), or ``module:Class.get`` of the application's own.
        services: host name -> ``service`` label of outside calls; subdomains count with their host.
        image_without_generator: ``uploaded`` where a picture that no generator drew and no outside
            service sent can only be an uploaded one; empty where that does not follow.
        query: query keys that may be told of a request -> which of their values may be. Every other
            key is left out, every other value redacted.
        error_loggers: loggers whose records of level ERROR with an exception tell why a request
            failed, beside ``django.request``; each stands for those below it.
        application_routes: a path that no route matches goes by the application's own URL pattern,
            where a probe sees one, instead of by :attr:`other`.

    Raises:
        ProfileError: a pattern does not compile, a kind does not exist, a rule is missing.
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
        known = Memo(self._search, MAX_KNOWN_PATHS, lambda path: len(path) <= MAX_KNOWN_LENGTH)
        object.__setattr__(self, "_known", known)

    def route(self, path: str) -> Route:
        """Classify a path.

        Args:
            path: ``PATH_INFO`` as WSGI gives it (PEP 3333: bytes shown as Latin-1).

        Returns:
            The first route that matches, or :attr:`other`.
        """
        return self._known[path]

    def personal(self, route: Route, path: str) -> tuple[str, str] | None:
        """What a path says about a person.

        Args:
            route: of this path.
            path: ``PATH_INFO`` as WSGI gives it.

        Returns:
            ``("digest" or "email", the text as it came)``, ``None`` where there is neither.
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
    """The path as the application reads it, of the bytes that WSGI shows as Latin-1 (PEP 3333)."""
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
    if not _QUERY_WORD.fullmatch(key):
        return [f"query key {key!r}: allowed are 1 to 32 letters, digits and ._~-"]
    if rule == PIXELS:
        return []
    if isinstance(rule, frozenset) and all(_QUERY_WORD.fullmatch(word) for word in rule):
        return []
    return [f"query key {key!r}: {rule!r} is neither {PIXELS!r} nor a frozenset of plain words"]


def _index(routes: tuple[Route, ...], is_ascii: bool) -> Mapping[str, Candidates]:
    """For each literal first segment, the routes that a path under it can reach, in their order.

    Args:
        routes: of the profile.
        is_ascii: the paths are; the same is then found faster.
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
            pass  # a pattern that says (?u)
    return re.compile(pattern)
