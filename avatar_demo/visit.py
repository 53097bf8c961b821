"""One request: its fields and cookies, and the pages and cookies of the response."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import cached_property, wraps
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from multipart import parse_form_data
from webob import Request, Response, exc

from avatar_demo.models import User
from avatar_demo.sessions import SESSION_SECONDS, close_session, find_user, open_session
from avatar_demo.site import Site

SESSION_COOKIE, CSRF_COOKIE, MESSAGE_COOKIE = "sessionid", "csrftoken", "messages"
MESSAGE_SECONDS = 300
CSRF_FIELD = "csrfmiddlewaretoken"
POLICY = "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
CHUNK = 64 * 1024
MAX_FIELDS = 50
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True,
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False,
)  # fmt: skip


class Visit:
    """One request to a site.

    Args:
        environ: the WSGI environment.
        site: the database, the cache and the secret.
    """

    def __init__(self, environ: dict[str, Any], site: Site) -> None:
        self.request: Any = Request(environ)
        self.site = site
        self.path = _text(environ, "PATH_INFO") or "/"
        self.root = quote(_text(environ, "SCRIPT_NAME"))
        self.query = dict(parse_qsl(_text(environ, "QUERY_STRING"), keep_blank_values=True))
        self._new_cookies: dict[str, tuple[str | None, int | None]] = {}

    def read_body(self, limit: int, drained: int) -> None:
        """Read the body into memory, whatever its Content-Length.

        Args:
            limit: the maximum size of the body, in bytes.
            drained: the maximum of bytes to read, so that a client that is still sending reads
                the response.

        Raises:
            HTTPRequestEntityTooLarge: the body is larger.
            HTTPBadRequest: the client disconnected.
        """
        body, total = BytesIO(), 0
        try:
            while total <= max(limit, drained) and (chunk := self.request.body_file.read(CHUNK)):
                total += len(chunk)
                if total <= limit:
                    body.write(chunk)
        except OSError:
            raise exc.HTTPBadRequest("The request ended early.") from None
        if total > limit:
            raise exc.HTTPRequestEntityTooLarge("The request is too large.")
        self.request.body = body.getvalue()

    @cached_property
    def form(self) -> dict[str, Any]:
        """The fields of a posted form, text or files.

        Raises:
            HTTPBadRequest: the body is malformed, or has too many fields.
        """
        environ = {**self.request.environ, "wsgi.input": self.request.body_file}
        try:
            texts, files = parse_form_data(environ, ignore_errors=False, part_limit=MAX_FIELDS,
                                           memory_limit=len(self.request.body) + 1)  # fmt: skip
        except ValueError:
            raise exc.HTTPBadRequest("The form is malformed.") from None
        return {**dict(files.iterallitems()), **dict(texts.iterallitems())}

    def field(self, name: str) -> str:
        """Return a text field of the form, empty if it is missing or a file."""
        value = self.form.get(name, "")
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        """Return an integer of the form, 0 if it is invalid."""
        text = self.field(name).strip()
        return int(text) if text.isdecimal() and len(text) < 10 else 0

    @cached_property
    def user(self) -> User | None:
        """The user who is logged in."""
        cookie = self._cookie(SESSION_COOKIE)
        return find_user(self.site, cookie) if cookie else None

    @property
    def member(self) -> User:
        """The user who is logged in, for the pages of :func:`members`.

        Raises:
            HTTPForbidden: no user is logged in.
        """
        if self.user is None:
            raise exc.HTTPForbidden("Please log in first.")
        return self.user

    @cached_property
    def csrf_token(self) -> str:
        """The token for the forms of this response."""
        token, session = self._cookie(CSRF_COOKIE), self._session
        return token if self._owns_csrf_token(token, session) else self._set_csrf_token(session)

    def check_csrf(self) -> None:
        """Check that a page of this session sent the form.

        Raises:
            HTTPForbidden: another site may have sent it.
        """
        token = self._cookie(CSRF_COOKIE)
        sent = self.request.headers.get("X-CSRFToken") or self.field(CSRF_FIELD)
        if sent != token or not self._owns_csrf_token(token, self._session):
            raise exc.HTTPForbidden("CSRF verification failed. Please go back and reload the form.")

    def log_in(self, user: User) -> None:
        """Open a session for a user."""
        cookie = open_session(self.site, user)
        self._new_cookies[SESSION_COOKIE] = (cookie, SESSION_SECONDS)
        self._set_csrf_token(cookie)

    def log_out(self) -> None:
        """End the session."""
        close_session(self.site, self._cookie(SESSION_COOKIE))
        self._new_cookies[SESSION_COOKIE] = (None, None)

    def redirect(self, path: str, message: str = "") -> Any:
        """Return a 302 to a path of this application, whose page shows the message."""
        if message:
            signed = self.site.sign("message", message)
            self._new_cookies[MESSAGE_COOKIE] = (signed, MESSAGE_SECONDS)
        return self.redirect_away(self.root + path)

    def redirect_away(self, url: str) -> Any:
        """Return a 302 to a URL that is known to be safe."""
        return Response(status=302, location=url, content_type="text/plain")

    def message(self) -> str:
        """Return the message of the previous redirect, once."""
        cookie = self._cookie(MESSAGE_COOKIE)
        if cookie:
            self._new_cookies[MESSAGE_COOKIE] = (None, None)
        return self.site.unsign("message", cookie, MESSAGE_SECONDS) or ""

    def page(self, template: str, title: str, status: int = 200, **values: object) -> Any:
        """Return a page made of a template."""
        names = {"title": title, "root": self.root, "visit": self, **values}
        return self._render(template, status, names)

    def error_page(self, status: int, text: str) -> Any:
        """Return a page that needs no cookie and no database, which may have failed."""
        names = {"title": status, "root": self.root, "text": text}
        return self._render("error.html", status, names)

    @staticmethod
    def _render(template: str, status: int, names: dict[str, object]) -> Any:
        text = TEMPLATES.get_template(template).render(names)
        response = Response(body=text.encode(), status=status, charset="utf-8")
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "private, no-store"
        return response

    def finish(self, response: Any) -> Any:
        """Set the new cookies and the headers of every response."""
        for name, (value, seconds) in self._new_cookies.items():
            response.set_cookie(
                name, value, max_age=seconds, path=self.root or "/", httponly=True, samesite="Lax",
                secure=self.request.scheme == "https",
            )  # fmt: skip
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        return response

    @property
    def _session(self) -> str:
        return self._cookie(SESSION_COOKIE) if self.user else ""

    def _cookie(self, name: str) -> str:
        try:
            return str(self.request.cookies.get(name, ""))
        except UnicodeDecodeError:
            return ""

    def _owns_csrf_token(self, token: str, session: str) -> bool:
        return self.site.unsign(f"csrf {session}", token) is not None

    def _set_csrf_token(self, session: str) -> str:
        token = self.site.sign(f"csrf {session}", secrets.token_urlsafe(16))
        self._new_cookies[CSRF_COOKIE] = (token, None)
        return token


def members(view: Callable[..., Any]) -> Callable[..., Any]:
    """Redirect visitors who are not logged in to the login page, and back after the login."""

    @wraps(view)
    def checked(visit: Visit, **values: str) -> Any:
        if visit.user is None:
            return visit.redirect(f"/accounts/login/?next={quote(visit.root + visit.path)}")
        return view(visit, **values)

    return checked


def local_path(text: str) -> str:
    """Return a path on this server, empty if ``text`` is not one."""
    if not text.startswith("/") or text.startswith("//") or "\\" in text:
        return ""
    return text if text.isprintable() and " " not in text else ""


def web_url(text: str) -> str:
    """Return an http or https URL for a header, empty if ``text`` is not one."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    if parts.scheme.lower() not in ("http", "https") or not parts.netloc:
        return ""
    plain = text.isprintable() and not set(text) & set(' "<>\\^`{|}')
    return quote(text, safe="%/:=&?~#+!$,;'@()*[]") if plain else ""


def _text(environ: dict[str, Any], name: str) -> str:
    """Return a variable as text: servers pass UTF-8 bytes as Latin-1 (PEP 3333)."""
    raw: str = environ.get(name, "")
    return raw.encode("latin-1").decode("utf-8", "replace")
