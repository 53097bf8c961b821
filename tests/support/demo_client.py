"""Clients of the demo server that know what they did: a repeatable mix of requests, and its tally.

Each client has addresses, an account and a cache history of its own, so that what it must find on
the metrics page follows from its own requests and the answers to them, and from nothing else.
"""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.cookies import SimpleCookie
from io import BytesIO
from typing import TypeVar
from urllib.parse import urlencode

from PIL import Image

from avatar_telemetry.metrics.instruments import UPLOAD_BUCKETS
from tests.support.gunicorn_server import Answer, Metrics
from tests.support.waiting import eventually

GENERATORS = ("identicon", "retro", "monsterid", "wavatar", "pagan", "robohash", "mmng")
SIZES = {"80": "80", "128": "128", "0": "80", "nonsense": "80", "1000": "512", "33": "other"}
CSRF = "csrftoken"
BOUNDARY = "----a-boundary-of-the-tests"
PASSWORD = "correct horse battery"
CLIENT_DEADLINE = 900.0
"""Seconds until the requests of a client are given up; never a measurement."""

Ask = Callable[..., Answer]
Series = tuple[str, frozenset[tuple[str, str]]]
T = TypeVar("T")


@dataclass
class Tally:
    """The values that the metrics page must have, as far as clients can know them."""

    def __init__(self) -> None:
        self.counts: Counter[Series] = Counter()

    def add(self, sample: str, amount: float = 1.0, **labels: str) -> None:
        self.counts[sample, frozenset(labels.items())] += amount  # type: ignore[assignment]

    def request(self, method: str, status: int, path: str) -> None:
        code = str(status)
        self.add("ivatar_requests_total", method=method, status_code=code, path=path)
        self.add(
            "ivatar_request_duration_seconds_count", method=method, status_code=code, path=path
        )
        self.add("ivatar_request_first_byte_seconds_count", path=path)

    def avatar(self, status: int, size: str, form: str) -> None:
        self.add("ivatar_avatar_requests_total", status_code=str(status), size=size, format=form)

    def made(self, size: str, form: str, source: str) -> None:
        self.add("ivatar_avatars_generated_total", size=size, format=form, source=source)
        self.add("ivatar_avatar_generation_seconds_count", format=form, source=source)

    def cache(self, *, hit: bool, size: str, form: str) -> None:
        word = "hits" if hit else "misses"
        self.add(f"ivatar_avatar_cache_{word}_total", size=size, format=form)

    def outside(self, *, success: bool) -> None:
        self.add(
            "ivatar_external_avatar_requests_total",
            service="gravatar",
            success=str(success).lower(),
        )
        self.add("ivatar_external_avatar_request_seconds_count", service="gravatar")

    def upload(self, content_type: str, size: int | None, *, success: bool) -> None:
        if size is None:
            return  # a form without a file is no upload
        word = str(success).lower()
        self.add("ivatar_file_uploads_total", content_type=content_type, success=word)
        self.add("ivatar_file_upload_size_bytes_count", content_type=content_type)
        self.add("ivatar_file_upload_size_bytes_sum", float(size), content_type=content_type)
        bounds = [*map(float, UPLOAD_BUCKETS), float("inf")]
        for bound in bounds[bisect_left(UPLOAD_BUCKETS, size) :]:
            le = "+Inf" if bound == float("inf") else _go_number(bound)
            self.add("ivatar_file_upload_size_bytes_bucket", content_type=content_type, le=le)

    def attempt(self, operation: str, *, success: bool) -> None:
        self.add("ivatar_auth_attempts_total", operation=operation, success=str(success).lower())

    def __iadd__(self, other: Tally) -> Tally:
        self.counts.update(other.counts)
        return self


def knowable(metrics: Metrics) -> Metrics:
    """Those series of a page that a client's tally can be held against."""
    return {
        key: value
        for key, value in metrics.items()
        if key[0].startswith("ivatar_")
        and key[0] != "ivatar_requests_in_progress"
        and not key[0].startswith("ivatar_db_")  # statements are the application's own affair
        and not (key[0].endswith(("_sum", "_bucket")) and "upload" not in key[0])
    }


def differences(shown: Mapping[Series, float], expected: Mapping[Series, float]) -> str:
    """The series in which two pages differ, a line each; empty where there is none.

    A series that is not there is the same as one that stands at zero.
    """
    lines = [
        f"{name}{{{', '.join(f'{label}={value}' for label, value in sorted(labels))}}}: "
        f"shown {shown.get((name, labels), 0.0):g}, expected {expected.get((name, labels), 0.0):g}"
        for name, labels in shown.keys() | expected.keys()
        if shown.get((name, labels), 0.0) != expected.get((name, labels), 0.0)
    ]
    return "\n".join(sorted(lines))


def comparable(metrics: Mapping[Series, T]) -> dict[Series, T]:
    """The same with bounds of buckets as numbers: they are written in more than one way."""
    return {
        (name, frozenset((key, str(float(each)) if key == "le" else each) for key, each in labels)):
            value
        for (name, labels), value in metrics.items()
    }  # fmt: skip


def await_tally(shown: Callable[[], Metrics], expected: Mapping[Series, float]) -> Metrics:
    """Wait until what is shown is what clients did; all that is shown then."""
    page: Metrics = {}

    def difference() -> str:
        page.clear()
        page.update(comparable(shown()))
        return differences(knowable(page), comparable(expected))

    try:
        eventually(lambda: not difference())
    except AssertionError:
        raise AssertionError(difference()) from None
    return page


def _go_number(bound: float) -> str:
    from prometheus_client.utils import floatToGoString

    return str(floatToGoString(bound))


class DemoClient:
    """One user of the demo server.

    Args:
        ask: sends a request: method, path, body, headers.
        name: of this client; everything it uses is derived from it.
        random_state: decides its choices.
    """

    pages: Sequence[tuple[str, str, int]] = (
        ("/", "/", 200), ("/stats/", "/stats/", 200), ("/nothing/here", "other", 404),
        ("/description/", "/description/", 200), ("/accounts/nix", "/accounts/{page}", 404),
        ("/tools/check/", "/tools/check/", 200), ("/accounts/login/", "/accounts/login/", 200),
        ("/static/style.css", "/static/{file}", 200),
    )  # fmt: skip
    """Path, template and status of each."""

    def __init__(self, ask: Ask, name: str, random_state: int) -> None:
        self._ask = ask
        self._name = name
        self._random = random.Random(f"{name}-{random_state}")
        self._cookies: dict[str, str] = {}
        self._cached: set[str] = set()
        self._proxied = 0
        self.answered = 0
        self._email = f"{name}@example.com"
        self._digests = [md5(f"{name}-{number}") for number in range(30)]
        self.tally = Tally()

    def run(self, requests: int) -> None:
        """Register, upload, then send a mix of everything.

        Raises:
            AssertionError: an answer is not what the demo should give.
        """
        self.register()
        self.upload_own_photo()
        actions, weights = zip(*self.mix(), strict=True)
        for action in self._random.choices(actions, weights, k=requests):
            action()

    def mix(self) -> list[tuple[Callable[[], object], float]]:
        """The actions of a client, and their numbers."""
        return [
            (self.drawn_avatar, 50), (self.own_avatar, 8), (self.missing_avatar, 6),
            (self.redirected_avatar, 8), (self.invalid_avatar, 4), (self.proxied_avatar, 6),
            (self.page, 8), (self.upload, 6), (self.bad_upload, 3), (self.log_in_badly, 0.6),
            (self.log_out_and_in, 0.6),
        ]  # fmt: skip

    def drawn_avatar(self) -> None:
        size, label = self._random.choice(list(SIZES.items()))
        query = urlencode({"s": size, "d": self._random.choice(GENERATORS)})
        path = f"/avatar/{self._random.choice(self._digests)}?{query}"
        self._get(path, "/avatar/{digest}", 200)
        hit = self._look_up(path)
        self.tally.avatar(200, label, "png")
        self.tally.cache(hit=hit, size=label, form="png")
        if not hit:
            self.tally.made(label, "png", "generated")

    def own_avatar(self) -> None:
        size, label = self._random.choice(list(SIZES.items()))
        path = f"/avatar/{md5(self._email)}.png?size={size}"
        self._get(path, "/avatar/{digest}", 200)
        hit = self._look_up(path)
        self.tally.avatar(200, label, "jpg")
        self.tally.cache(hit=hit, size=label, form="jpg")
        if not hit:
            self.tally.made(label, "jpg", "uploaded")

    def missing_avatar(self) -> None:
        self._get(f"/avatar/{md5(self._name)}.jpg?d=404", "/avatar/{digest}", 404)
        self.tally.avatar(404, "80", "jpg")
        self.tally.cache(hit=False, size="80", form="jpg")

    def redirected_avatar(self) -> None:
        path = f"//avatar/{md5(self._name) * 2}?s=64&d=mm"
        self._get(path, "/avatar/{digest}", 302)
        self.tally.avatar(302, "64", "none")
        self.tally.cache(hit=False, size="64", form="none")

    def invalid_avatar(self) -> None:
        self._get("/avatar/deadbeef", "/avatar/{invalid}", 302)
        self.tally.avatar(302, "80", "none")

    def proxied_avatar(self) -> None:
        """The stand-in for Gravatar has a picture, none, or a fault, by the digest's first word."""
        self._proxied += 1
        word, status = self._random.choice([("a", 200), ("b", 302), ("c", 302)])
        digest = word + md5(f"{self._name}-{self._proxied}")[1:]
        self._get(f"/gravatarproxy/{digest}?s=80", "/gravatarproxy/{digest}", status)
        self.tally.avatar(status, "80", "png" if status == 200 else "none")
        if word == "a":
            self.tally.outside(success=True)  # once to test, once for the picture
            self.tally.made("80", "png", "external")
        self.tally.outside(success=word != "c")

    def page(self) -> None:
        self._get(*self._random.choice(self.pages))

    def register(self) -> None:
        self._get("/accounts/new/", "/accounts/new/", 200)
        form = {"username": self._email, "password1": PASSWORD, "password2": PASSWORD}
        self._post("/accounts/new/", "/accounts/new/", 302, form)
        self.tally.attempt("register", success=True)

    def log_in_badly(self) -> None:
        form = {"username": self._email, "password": "wrong"}
        self._post("/accounts/login/", "/accounts/login/", 200, form)
        self.tally.attempt("login", success=False)

    def log_out_and_in(self) -> None:
        self._post("/accounts/logout/", "/accounts/logout/", 302, {})
        self.tally.attempt("logout", success=True)
        self._upload(self._photo("PNG"), "image/png", success=False)  # not logged in any more
        self._get("/accounts/login/", "/accounts/login/", 200)
        form = {"username": self._email, "password": PASSWORD}
        self._post("/accounts/login/", "/accounts/login/", 302, form)
        self.tally.attempt("login", success=True)

    def upload_own_photo(self) -> None:
        answer = self._upload(self._photo("JPEG"), "image/jpeg", success=True)
        crop = answer.headers["Location"]
        box = {"x": "0", "y": "0", "w": "60", "h": "60"}
        self._post(crop, "/accounts/crop_photo/{id}", 302, box)

    def upload(self) -> None:
        form = self._random.choice(["PNG", "JPEG", "GIF", "WEBP"])
        self._upload(self._photo(form), f"image/{form.lower()}", success=True)

    def bad_upload(self) -> None:
        if self._random.random() < 0.5:
            self._upload(
                b"no picture" * self._random.randrange(1, 5000), "text/plain", success=False
            )
        else:
            self._upload(None, "other", success=False)

    def _upload(self, data: bytes | None, content_type: str, *, success: bool) -> Answer:
        fields = {"csrfmiddlewaretoken": self._cookies[CSRF], "not_porn": "on",
                  "can_distribute": "on"}  # fmt: skip
        body = _multipart(fields, data, content_type)
        path = "/accounts/upload_photo/"
        answer = self._send(
            "POST", path, body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        )
        went_on = "/accounts/crop_photo/" in answer.headers.get("Location", "")
        assert went_on == success, (answer.status, answer.headers)
        self.tally.request("POST", answer.status, path)
        label = "other" if content_type == "text/plain" else content_type
        self.tally.upload(label, None if data is None else len(data), success=success)
        return answer

    def _photo(self, form: str) -> bytes:
        edge = self._random.randrange(60, 400)
        image = Image.new("RGB", (edge, edge), tuple(self._random.randbytes(3)))
        file = BytesIO()
        image.save(file, form)
        return file.getvalue()

    def _look_up(self, path: str) -> bool:
        hit = path in self._cached
        self._cached.add(path)
        return hit

    def _get(self, path: str, template: str, status: int) -> Answer:
        answer = self._send("GET", path)
        assert answer.status == status, (path, answer.status, answer.body[:200])
        self.tally.request("GET", answer.status, template)
        return answer

    def _post(self, path: str, template: str, status: int, form: Mapping[str, str]) -> Answer:
        body = urlencode({"csrfmiddlewaretoken": self._cookies[CSRF], **form}).encode()
        answer = self._send(
            "POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert answer.status == status, (path, answer.status, answer.body[:400])
        self.tally.request("POST", answer.status, template)
        return answer

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        cookie = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        answer = self._ask(method, path, body, {**(headers or {}), "Cookie": cookie})
        self.answered += 1
        for cookie in answer.cookies:
            for name, morsel in SimpleCookie(cookie).items():
                self._cookies[name] = morsel.value
        return answer


class Clients:
    """Several clients at once, each in a thread of its own.

    Args:
        ask: sends a request.
        number: how many clients.
        requests: of each.
        random_state: decides their choices.
        kind: of client.
    """

    def __init__(
        self,
        ask: Ask,
        number: int,
        requests: int,
        random_state: int = 1,
        kind: type[DemoClient] = DemoClient,
    ) -> None:
        self._clients = [
            kind(ask, f"client{index}-{random_state}", random_state) for index in range(number)
        ]
        self._faults: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(client, requests), daemon=True)
            for client in self._clients
        ]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for thread in self._threads:
            thread.join(CLIENT_DEADLINE)
        if self._faults:
            raise AssertionError(f"a client got {self._faults}") from self._faults[0]
        assert not self.running, "a client has not come to its end"

    @property
    def running(self) -> bool:
        """Return whether any of them still sends."""
        return any(thread.is_alive() for thread in self._threads)

    def await_more(self, number: int) -> None:
        """Wait until they have so many more answers, or are through."""
        goal = self._answered() + number
        while self.running and self._answered() < goal:
            time.sleep(0.02)

    def _answered(self) -> int:
        return sum(client.answered for client in self._clients)

    def tally(self) -> Tally:
        """The actions of all clients together."""
        total = Tally()
        for client in self._clients:
            total += client.tally
        return total

    def _run(self, client: DemoClient, requests: int) -> None:
        try:
            client.run(requests)
        except (AssertionError, OSError, LookupError, http.client.HTTPException) as error:
            self._faults.append(error)


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def _multipart(fields: Mapping[str, str], data: bytes | None, content_type: str) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if data is not None:
        head = f'name="photo"; filename="me.bin"\r\nContent-Type: {content_type}'
        disposition = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode()
        parts.append(disposition + data + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
