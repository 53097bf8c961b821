"""One request: what the browser sent, and what goes back beside the page."""

from __future__ import annotations

import base64
from functools import cached_property
from typing import Any
from urllib.parse import quote

from webob import Request, Response

from avatar_telemetry.demo.http import HttpError, parse_form, parse_query, wsgi_text
from avatar_telemetry.demo.models import User
from avatar_telemetry.demo.pages import Markup, fill
from avatar_telemetry.demo.sessions import SESSION_SECONDS
from avatar_telemetry.demo.signing import same
from avatar_telemetry.demo.site import Site

SESSION_COOKIE = "sessionid"
CSRF_COOKIE = "csrftoken"
CSRF_FIELD = "csrfmiddlewaretoken"
MESSAGE_COOKIE = "messages"
POLICY = "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"


class Visit:
    """One request to a site.

    Args:
        request: WebOb's view of it.
        site: what it may use.
    """

    def __init__(self, request: Any, site: Site) -> None:
        self.request: Any = request
        self.site = site
        self._new_cookies: dict[str, tuple[str, int | None]] = {}

    @cached_property
    def path(self) -> str:
        """The path below the application's root."""
        return wsgi_text(self.request.environ, "PATH_INFO") or "/"

    @cached_property
    def root(self) -> str:
        """The path where the application is mounted, ready for a link."""
        return quote(wsgi_text(self.request.environ, "SCRIPT_NAME"))

    @cached_property
    def query(self) -> dict[str, str]:
        """The query string's values."""
        return parse_query(self.request.environ)

    @cached_property
    def form(self) -> Any:
        """The values of a posted form, a WebOb ``MultiDict``."""
        return parse_form(self.request)

    def field(self, name: str) -> str:
        """A text field of the form, empty where it is missing or is a file."""
        value = self.form.get(name, "")
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        """A whole number of the form, 0 where it is none."""
        text = self.field(name).strip()
        return int(text) if text.isdecimal() and len(text) < 10 else 0

    @cached_property
    def session(self) -> str:
        """The session cookie, empty where it belongs to nobody."""
        return self._cookie(SESSION_COOKIE) if self.user else ""

    @cached_property
    def user(self) -> User | None:
        """Who is logged in."""
        cookie = self._cookie(SESSION_COOKIE)
        return self.site.sessions.find(cookie) if cookie else None

    @cached_property
    def member(self) -> User:
        """Who is logged in, for pages that only a user can reach.

        Raises:
            HttpError: nobody is.
        """
        if self.user is None:
            raise HttpError(403, "Please log in first.")
        return self.user

    @cached_property
    def csrf_token(self) -> str:
        """The token for the forms of this answer."""
        token = self._cookie(CSRF_COOKIE)
        if not self.site.sessions.owns_csrf_token(token, self.session):
            token = self.site.sessions.csrf_token(self.session)
            self.set_cookie(CSRF_COOKIE, token)
        return token

    def check_csrf(self) -> None:
        """Let a form pass that one of our pages sent.

        Raises:
            HttpError: 403, another site may have sent it.
        """
        token = self._cookie(CSRF_COOKIE)
        sent = self.request.headers.get("X-CSRFToken") or self.field(CSRF_FIELD)
        if not same(sent, token) or not self.site.sessions.owns_csrf_token(token, self.session):
            raise HttpError(403, "CSRF verification failed. Please go back and reload the form.")

    def log_in(self, user: User) -> None:
        """Open a session for a user."""
        cookie = self.site.sessions.open(user)
        self.set_cookie(SESSION_COOKIE, cookie, SESSION_SECONDS)
        self.set_cookie(CSRF_COOKIE, self.site.sessions.csrf_token(cookie))

    def log_out(self) -> None:
        """End the session."""
        self.site.sessions.close(self._cookie(SESSION_COOKIE))
        self.set_cookie(SESSION_COOKIE, "", 0)

    def tell(self, message: str) -> None:
        """Show a message on the next page."""
        text = base64.urlsafe_b64encode(message.encode()).decode()
        self.set_cookie(MESSAGE_COOKIE, self.site.signer.sign("message", text), 300)

    def set_cookie(self, name: str, value: str, seconds: int | None = None) -> None:
        """Set a cookie, or remove it with ``seconds=0``."""
        self._new_cookies[name] = (value, seconds)

    def redirect(self, path: str) -> Any:
        """A 302 to a path of this application."""
        return self.redirect_away(self.root + path)

    def redirect_away(self, url: str) -> Any:
        """A 302 to an address that is known to be safe."""
        return Response(status=302, location=url, content_type="text/plain")

    def page(self, name: str, title: str, /, status: int = 200, **values: object) -> Any:
        """A whole page: a template and what surrounds it."""
        content = fill(name, root=self.root, csrf=self.csrf_field(), **values)
        template = "account_in" if self.user else "account_out"
        account = fill(template, root=self.root, csrf=self.csrf_field(), user=self._name())
        return self._frame(title, status, content, account, self._messages())

    def error_page(self, status: int, text: str) -> Any:
        """A page that needs no cookie and no database, which may be what failed."""
        content = fill("error", root=self.root, code=status, text=text)
        return self._frame(str(status), status, content, Markup(), Markup())

    def _frame(
        self, title: str, status: int, content: Markup, account: Markup, messages: Markup
    ) -> Any:
        frame = fill(
            "base",
            root=self.root,
            title=title,
            account=account,
            messages=messages,
            content=content,
        )
        response = Response(body=frame.encode(), status=status, charset="utf-8")
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "private, no-store"
        return response

    def finish(self, response: Any) -> Any:
        """Put the cookies and the headers of every answer onto a response."""
        for name, (value, seconds) in self._new_cookies.items():
            response.headers.add("Set-Cookie", self._cookie_header(name, value, seconds))
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        return response

    def _cookie(self, name: str) -> str:
        # Not WebOb's: it stumbles over cookies that are no UTF-8.
        cookies: dict[str, str] = dict(
            part.strip().partition("=")[::2]
            for part in self.request.environ.get("HTTP_COOKIE", "").split(";")
        )
        return cookies.get(name, "").strip('"')

    def csrf_field(self) -> Markup:
        """The hidden input that every form of this answer needs."""
        return fill("csrf", name=CSRF_FIELD, token=self.csrf_token)

    def _cookie_header(self, name: str, value: str, seconds: int | None) -> str:
        # Not WebOb's: it asks the clock in a way that Python 3.12 warns of.
        age = [] if seconds is None else [f"Max-Age={seconds}"]
        secure = ["Secure"] if self.request.scheme == "https" else []
        parts = [f"{name}={value}", *age, f"Path={self.root or '/'}", "HttpOnly", "SameSite=Lax"]
        return "; ".join([*parts, *secure])

    def _name(self) -> str:
        return self.user.username if self.user else ""

    def _messages(self) -> Markup:
        cookie = self._cookie(MESSAGE_COOKIE)
        text = self.site.signer.unsign("message", cookie) if cookie else None
        if text is None:
            return Markup()
        self.set_cookie(MESSAGE_COOKIE, "", 0)
        return fill("message", text=base64.urlsafe_b64decode(text).decode())


def open_visit(environ: Any, site: Site) -> Visit:
    """A visit made of a WSGI environment."""
    return Visit(Request(environ), site)
