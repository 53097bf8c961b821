"""Visitors of an avatar server: a repeatable mix of what people and web pages send to one.

Only what the server's own pages offer is used: avatars, pages, registration, log-in, uploads. A
visitor's requests follow from its random state and from the answers alone.
"""

from __future__ import annotations

import hashlib
import random
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlencode, urlsplit

from avatar_telemetry.cli.web import Answer, Site, WebError
from avatar_telemetry.version import VERSION

AGENT = f"avatar-telemetry-simulate/{VERSION}"
GENERATORS = ("identicon", "retro", "monsterid", "wavatar", "pagan", "robohash", "mmng")
SIZES = {"80": 40, "128": 15, "32": 15, "256": 8, "64": 8, "512": 4, "200": 6, "33": 2, "x": 2}
PAGES = ("/", "/stats/", "/description/", "/contact/", "/tools/check/", "/accounts/login/",
         "/nothing/here")  # fmt: skip
FACES = 400
"""Persons whose avatars are asked for; few of them by most requests, as on a web page."""
PASSWORD = "correct horse battery staple"  # noqa: S105 - of accounts that nobody keeps
TOKEN, COOKIE = "csrfmiddlewaretoken", "csrftoken"
TOKEN_FIELD = re.compile(rf'name="{TOKEN}"\s+value="([^"]+)"')
BOUNDARY = "----a-visitor-of-avatar-telemetry"
LOGIN, NEW, UPLOAD = "/accounts/login/", "/accounts/new/", "/accounts/upload_photo/"
FOUND = 302

Tell = Callable[[str, int, float], None]
"""``(action, status or 0 for no answer, seconds)``"""


class BudgetSpentError(Exception):
    """All requests of a visitor were sent."""


class Visitor:
    """One person with a browser.

    Args:
        site: that is visited.
        name: of the person.
        random_state: decides all choices.
        requests: that may be sent at most.
        tell: told of each request.
        pause: called before each request.
        outside: whether requests may make the server ask Gravatar.
    """

    def __init__(
        self, site: Site, name: str, random_state: int, requests: int, tell: Tell,
        pause: Callable[[], None], *, outside: bool,
    ) -> None:  # fmt: skip
        self._site = site
        self._random = random.Random(f"{name}-{random_state}")  # noqa: S311 - a mix, not a secret
        self._email = f"{name}-{random_state}@example.com"
        self._left = requests
        self._tell = tell
        self._pause = pause
        self._cookies: dict[str, str] = {}
        self._member = False
        self._actions = self._mix(outside)

    def run(self) -> None:
        """Send everything."""
        try:
            self._register()
            actions = [action for action, _ in self._actions]
            weights = [weight for _, weight in self._actions]
            while True:
                self._random.choices(actions, weights)[0]()
        except BudgetSpentError:
            return

    def _mix(self, outside: bool) -> list[tuple[Callable[[], None], float]]:
        return [
            (self._drawn_avatar, 50), (self._own_avatar, 8), (self._missing_avatar, 6),
            (self._default_avatar, 8), (self._invalid_avatar, 3), (self._page, 12),
            (self._upload, 3), (self._bad_upload, 1.5), (self._log_in_badly, 1),
            (self._log_out_and_in, 1), (self._proxied_avatar, 4 if outside else 0),
        ]  # fmt: skip

    # Avatars

    def _drawn_avatar(self) -> None:
        # Most are of few persons: the square of an even number piles up at its beginning.
        face = int(self._random.random() ** 2 * FACES)
        query = {"s": self._size(), "d": GENERATORS[face % len(GENERATORS)]}
        self._get("avatar, drawn", f"/avatar/{_digest(f'face-{face}')}?{urlencode(query)}")

    def _own_avatar(self) -> None:
        path = f"/avatar/{_digest(self._email)}?s={self._size()}&d=identicon"
        self._get("avatar, own", path)

    def _missing_avatar(self) -> None:
        path = f"/avatar/{_digest(self._random.random())}.jpg?s={self._size()}&d=404"
        self._get("avatar, missing", path)

    def _default_avatar(self) -> None:
        path = f"/avatar/{_digest(self._random.random())}?s={self._size()}&d=mm"
        self._get("avatar, default", path)

    def _invalid_avatar(self) -> None:
        self._get("avatar, invalid", "/avatar/nobody")

    def _proxied_avatar(self) -> None:
        self._get("avatar, Gravatar", f"/gravatarproxy/{_digest(self._random.random())}?s=80")

    def _size(self) -> str:
        return self._random.choices(list(SIZES), list(SIZES.values()))[0]

    # Pages and accounts

    def _page(self) -> None:
        self._get("page", self._random.choice(PAGES))

    def _register(self) -> None:
        form = {"username": self._email, "password1": PASSWORD, "password2": PASSWORD}
        answer = self._submit("register", NEW, form)
        self._member = answer.status == FOUND
        if not self._member:  # an earlier run with this random state has done it
            self._log_in()

    def _log_in(self) -> None:
        answer = self._submit("log in", LOGIN, {"username": self._email, "password": PASSWORD})
        self._member = answer.status == FOUND

    def _log_in_badly(self) -> None:
        self._submit("log in, wrong", LOGIN, {"username": self._email, "password": "wrong"})

    def _log_out_and_in(self) -> None:
        self._submit("log out", "/accounts/logout/", {}, page="/")
        self._log_in()

    def _upload(self) -> None:
        edge = self._random.randrange(60, 300)
        answer = self._send_photo("upload", picture(edge, self._random.randbytes(6)), "image/png")
        target = urlsplit(answer.headers.get("location", "")).path
        if answer.status == FOUND and "/crop_photo/" in target:
            box = {"x": "0", "y": "0", "w": str(edge), "h": str(edge)}
            self._submit("crop", target.removeprefix(self._site.path), box)

    def _bad_upload(self) -> None:
        self._send_photo("upload, no picture", b"no picture " * 100, "text/plain")

    def _send_photo(self, action: str, photo: bytes, content_type: str) -> Answer:
        if not self._member:
            return self._get(action, UPLOAD)
        token = self._token(self._get(f"{action} (form)", UPLOAD))
        fields = {TOKEN: token, "not_porn": "on", "can_distribute": "on"}
        body = b"".join(_multipart(fields, photo, content_type))
        return self._send(action, "POST", UPLOAD, body, f"multipart/form-data; boundary={BOUNDARY}")

    def _submit(self, action: str, path: str, form: Mapping[str, str], page: str = "") -> Answer:
        """Open the page with a form, then send it, as a browser does."""
        token = self._token(self._get(f"{action} (form)", page or path))
        body = urlencode({TOKEN: token, **form}).encode()
        return self._send(action, "POST", path, body, "application/x-www-form-urlencoded")

    def _token(self, page: Answer) -> str:
        found = TOKEN_FIELD.search(page.text)
        return found[1] if found else self._cookies.get(COOKIE, "")

    # Requests

    def _get(self, action: str, path: str) -> Answer:
        return self._send(action, "GET", path)

    def _send(
        self, action: str, method: str, path: str, body: bytes | None = None, content_type: str = ""
    ) -> Answer:
        if self._left <= 0:
            raise BudgetSpentError
        self._left -= 1
        self._pause()
        headers = {"User-Agent": AGENT, "Referer": f"{self._site.url}{self._site.path}{path}"}
        if content_type:
            headers["Content-Type"] = content_type
        if self._cookies:
            headers["Cookie"] = "; ".join(
                f"{name}={value}" for name, value in self._cookies.items()
            )
        started = time.perf_counter()
        try:
            answer = self._site.ask(method, path, body, headers)
        except WebError:
            answer = Answer(0, {}, b"")
        self._tell(action, answer.status, time.perf_counter() - started)
        self._keep_cookies(answer)
        return answer

    def _keep_cookies(self, answer: Answer) -> None:
        for line in answer.cookies:
            try:
                for name, morsel in SimpleCookie(line).items():
                    self._cookies[name] = morsel.value
            except CookieError:
                continue


def picture(edge: int, colours: bytes) -> bytes:
    """A square PNG (RFC 2083) that fades from one colour to another.

    Args:
        edge: pixels.
        colours: six bytes, red, green, blue of both.
    """
    rows = bytearray()
    for row in range(edge):
        share = row / edge
        pixel = bytes(
            round(top + (bottom - top) * share)
            for top, bottom in zip(colours[:3], colours[3:6], strict=True)
        )
        rows += b"\0" + pixel * edge
    head = struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _digest(text: object) -> str:
    return hashlib.md5(str(text).encode(), usedforsecurity=False).hexdigest()


def _multipart(fields: Mapping[str, str], photo: bytes, content_type: str) -> Iterator[bytes]:
    for name, value in fields.items():
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        yield f"{head}{value}\r\n".encode()
    yield (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="photo.png"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    ).encode()
    yield photo + f"\r\n--{BOUNDARY}--\r\n".encode()
