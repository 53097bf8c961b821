"""Send a realistic, repeatable mix of requests to an avatar server, and show its responses.

Visitors register, log in, upload photos, and request avatars and pages, a few wrongly. They use
only what the pages of the server offer. Their accounts (simulated-...@example.com) stay there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import re
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import requests
from PIL import Image
from urllib3.filepost import encode_multipart_formdata

AGENT = "avatar-demo-simulate"
TIMEOUT = 10.0
MAX_FAILED = 20
"""Consecutive requests without a response after which all visitors stop."""
AVATARS = ("avatar, drawn", "avatar, own", "avatar, default")
"""The actions that an avatar server always responds to with an image."""
BAR = 30
"""Columns of the bar."""
POLL_INTERVAL = 0.05
"""Seconds between two checks of the visitors."""
GENERATORS = ("identicon", "retro", "monsterid", "wavatar", "pagan", "robohash", "mmng")
SIZES = {"80": 40, "128": 15, "32": 15, "256": 8, "64": 8, "512": 4, "200": 6, "33": 2, "x": 2}
PAGES = ("/", "/stats/", "/description/", "/contact/", "/tools/check/", "/accounts/login/",
         "/nothing/here")  # fmt: skip
PERSONS = 400
"""Persons whose avatars are requested; a few of them by most requests, as on a web page."""
PASSWORD = "correct horse battery staple"  # noqa: S105 - of accounts without users
BOUNDARY = "----a-visitor-of-the-avatar-demo"
TOKEN = "csrfmiddlewaretoken"  # noqa: S105 - the name of a field
TOKEN_FIELD = re.compile(rf'name="{TOKEN}"\s+value="([^"]+)"')
LOGIN, NEW, UPLOAD = "/accounts/login/", "/accounts/new/", "/accounts/upload_photo/"


class Tally:
    """The responses to all visitors; thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.sent = 0
        self.failed = 0
        self.stopped = threading.Event()

    def add(self, action: str, status: int, seconds: float) -> None:
        """Count a request; its status is 0 without a response."""
        with self._lock:
            self.sent += 1
            self._statuses[action][status] += 1
            self._seconds[action].append(seconds)
            if self.failed < MAX_FAILED:  # never reset: others may still be in progress
                self.failed = self.failed + 1 if status == 0 else 0
            if self.failed >= MAX_FAILED:
                self.stopped.set()

    def rows(self) -> list[dict[str, Any]]:
        """Return the requests, statuses and times of each action."""
        return [
            {
                "action": action,
                "requests": sum(found.values()),
                "statuses": {str(code) if code else "none": found[code] for code in sorted(found)},
                "p50_seconds": _quantile(self._seconds[action], 0.5),
                "p95_seconds": _quantile(self._seconds[action], 0.95),
            }
            for action, found in sorted(self._statuses.items())
        ]


class StoppedError(Exception):
    """All requests of a visitor were sent, or all visitors stop."""


class Visitor:
    """A simulated person with a browser, whose requests depend on the name and the responses alone.

    Args:
        url: the URL of the site.
        name: the name of the person.
        limit: the number of requests.
        tally: the tally that counts each request.
        pause: the function to call before each request.
        outside: true where requests may make the server send requests to Gravatar.
        session: the browser.
    """

    def __init__(
        self, url: str, name: str, limit: int, tally: Tally,
        pause: Callable[[], None] = lambda: None, *, outside: bool = False,
        session: requests.Session | None = None,
    ) -> None:  # fmt: skip
        self._url = url
        self._email = f"{name}@example.com"
        self._random = random.Random(name)  # noqa: S311 - a mix, not a secret
        self._left = limit
        self._tally = tally
        self._pause = pause
        self._session = session or open_browser()
        self._is_member = False
        self._mix: list[tuple[Callable[[], None], float]] = [
            (self._drawn_avatar, 50), (self._own_avatar, 8), (self._missing_avatar, 6),
            (self._default_avatar, 8), (self._invalid_avatar, 3), (self._page, 12),
            (self._upload, 3), (self._bad_upload, 1.5), (self._log_in_badly, 1),
            (self._log_out_and_in, 1), (self._proxied_avatar, 4 if outside else 0),
        ]  # fmt: skip

    def run(self) -> None:
        """Send all requests."""
        actions, weights = zip(*self._mix, strict=True)
        try:
            self._register()
            while True:
                self._random.choices(actions, weights)[0]()
        except StoppedError:
            self._session.close()

    def _drawn_avatar(self) -> None:
        # The square of an even number makes small numbers common.
        person = int(self._random.random() ** 2 * PERSONS)
        style = GENERATORS[person % len(GENERATORS)]
        self._avatar("drawn", f"face-{person}", s=self._size(), d=style)

    def _own_avatar(self) -> None:
        self._avatar("own", self._email, s=self._size(), d="identicon")

    def _missing_avatar(self) -> None:
        self._avatar("missing", self._random.random(), s=self._size(), d="404")

    def _default_avatar(self) -> None:
        self._avatar("default", self._random.random(), s=self._size(), d="mm")

    def _invalid_avatar(self) -> None:
        self._send("avatar, invalid", "GET", "/avatar/nobody")

    def _proxied_avatar(self) -> None:
        path = f"/gravatarproxy/{_digest(self._random.random())}?s=80"
        self._send("avatar, Gravatar", "GET", path)

    def _avatar(self, action: str, person: object, **query: str) -> None:
        self._send(f"avatar, {action}", "GET", f"/avatar/{_digest(person)}?{urlencode(query)}")

    def _size(self) -> str:
        return self._random.choices(list(SIZES), list(SIZES.values()))[0]

    def _page(self) -> None:
        self._send("page", "GET", self._random.choice(PAGES))

    def _register(self) -> None:
        form = {"username": self._email, "password1": PASSWORD, "password2": PASSWORD}
        self._is_member = self._submit("register", NEW, form) is not None
        if not self._is_member:  # an earlier run with this random state has registered it
            self._log_in()

    def _log_in(self) -> None:
        form = {"username": self._email, "password": PASSWORD}
        self._is_member = self._submit("log in", LOGIN, form) is not None

    def _log_in_badly(self) -> None:
        self._submit("log in, wrong", LOGIN, {"username": self._email, "password": "wrong"})

    def _log_out_and_in(self) -> None:
        self._submit("log out", "/accounts/logout/", {}, page="/")
        self._log_in()

    def _upload(self) -> None:
        edge = self._random.randrange(60, 300)
        photo = picture(edge, self._random.randbytes(6))
        target = self._send_photo("upload", photo, "image/png")
        if target and "/crop_photo/" in target:
            self._submit("crop", target, {"x": "0", "y": "0", "w": str(edge), "h": str(edge)})

    def _bad_upload(self) -> None:
        self._send_photo("upload, no picture", b"no picture " * 100, "text/plain")

    def _send_photo(self, action: str, photo: bytes, content_type: str) -> str | None:
        if not self._is_member:
            self._send(action, "GET", UPLOAD)
            return None
        form = {"not_porn": "on", "can_distribute": "on"}
        return self._submit(action, UPLOAD, form, photo=("photo.png", photo, content_type))

    def _submit(
        self, action: str, path: str, form: Mapping[str, str], *, page: str = "",
        photo: tuple[str, bytes, str] | None = None,
    ) -> str | None:  # fmt: skip
        """Request the page with a form, then submit it, as a browser does.

        Returns:
            The path of the redirect, ``None`` without one.
        """
        opened = self._send(f"{action} (form)", "GET", page or path)
        found = TOKEN_FIELD.search(opened.text)
        fields: dict[str, Any] = {TOKEN: found[1] if found else "", **form}
        body, kind = urlencode(fields).encode(), "application/x-www-form-urlencoded"
        if photo:
            body, kind = encode_multipart_formdata({**fields, "photo": photo}, BOUNDARY)
        response = self._send(action, "POST", path, data=body, headers={"Content-Type": kind})
        if response.status_code != requests.codes.found:
            return None
        location = urljoin(response.url, response.headers.get("Location", ""))
        return location.removeprefix(self._url)

    def _send(self, action: str, method: str, path: str, **options: Any) -> requests.Response:
        if self._left <= 0:
            raise StoppedError
        self._left -= 1
        self._pause()
        if self._tally.stopped.is_set():
            raise StoppedError
        started = time.perf_counter()
        try:
            response = self._session.request(
                method, self._url + path, allow_redirects=False, timeout=TIMEOUT, **options
            )
        except requests.RequestException:
            response = requests.Response()
        self._tally.add(action, response.status_code or 0, time.perf_counter() - started)
        return response


def open_browser() -> requests.Session:
    """Make a browser without the proxies and passwords of this machine."""
    session = requests.Session()
    session.trust_env = False
    session.headers["User-Agent"] = AGENT
    return session


def picture(edge: int, colours: Sequence[int]) -> bytes:
    """Make a square PNG with a gradient from one colour to another.

    Args:
        edge: the side, in pixels.
        colours: the red, green and blue values of both colours.
    """
    image, file = Image.frombytes("RGB", (1, 2), bytes(colours)), BytesIO()
    image.resize((edge, edge), Image.Resampling.BILINEAR).save(file, "PNG")
    return file.getvalue()


def send_all(
    visitors: Sequence[Visitor],
    tally: Tally,
    total: int,
    is_over: Callable[[], bool] = lambda: False,
) -> bool:
    """Run all visitors concurrently, until they end or ``is_over`` returns true.

    Args:
        visitors: the visitors.
        tally: the tally of their requests.
        total: the number of requests that all of them send.
        is_over: a function that returns whether to end early.

    Returns:
        Whether Ctrl-C ended them.
    """
    threads = [threading.Thread(target=each.run, daemon=True) for each in visitors]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            if is_over():
                tally.stopped.set()
            tally.stopped.wait(POLL_INTERVAL)
            if tally.stopped.is_set():
                threads[0].join(POLL_INTERVAL)
            show_progress(tally.sent, total)
    except KeyboardInterrupt:
        tally.stopped.set()
        return True
    finally:
        show_progress(tally.sent, total, end="\n")
    return False


def show_progress(sent: int, total: int, end: str = "") -> None:
    """Draw the bar, on a terminal only."""
    if sys.stderr.isatty():
        bar = "#" * (BAR * sent // total)
        print(f"\r[{bar:{BAR}}] {sent / total:4.0%} {sent} requests", end=end, file=sys.stderr)
        sys.stderr.flush()


def refusals(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the statuses of the avatars where none was served, as text; else an empty text."""
    statuses: Counter[str] = Counter()
    for row in rows:
        if row["action"] in AVATARS:
            statuses.update(row["statuses"])
    served = any(status[0] in "23" for status in statuses)
    return "" if served else ", ".join(f"{code}: {statuses[code]}" for code in sorted(statuses))


def keep_rate(tally: Tally, rate: float) -> Callable[[], None]:
    """Return a function that waits until the next of ``rate`` requests a second is due."""
    due = time.monotonic()

    def pause() -> None:
        nonlocal due
        tally.stopped.wait(max(due - time.monotonic(), 0))
        due += 1 / rate

    return pause if rate else lambda: None


def stop_after(seconds: float, pid: int = 0) -> Callable[[], bool]:
    """Return a function that returns whether the time is over, or a process has ended.

    Args:
        seconds: the time in seconds, 0 for no limit.
        pid: the process, 0 for none.
    """
    end = time.monotonic() + (seconds or math.inf)
    return lambda: time.monotonic() >= end or bool(pid and _has_ended(pid))


def share(total: int, visitors: int, number: int) -> int:
    """Return the number of requests of one visitor."""
    return total // visitors + (number < total % visitors)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process.

    The exit status is 0 where all requests were sent, 1 where the server served no avatar, 2 for an
    error, 130 after an interrupt.
    """
    options = _parser().parse_args(arguments)
    url = options.url.rstrip("/")
    tally = Tally()
    visitors = [
        Visitor(
            url, f"simulated-{number}-{options.random_state}",
            share(options.requests, options.concurrency, number), tally,
            keep_rate(tally, options.rate / options.concurrency), outside=options.outside,
        )
        for number in range(options.concurrency)
    ]  # fmt: skip
    try:
        open_browser().get(f"{url}/", timeout=TIMEOUT, allow_redirects=False)
    except requests.RequestException as error:
        cause: BaseException = error
        while inner := cause.__cause__ or cause.__context__:
            cause = inner
        fault = f"{url} does not respond ({type(cause).__name__}: {cause})"
        sys.exit(_fault(f"{fault}; check that the server runs on this port"))
    started = time.monotonic()
    stop = stop_after(options.seconds, options.pid)
    interrupted = send_all(visitors, tally, options.requests, stop)
    seconds, rows = time.monotonic() - started, tally.rows()
    if options.json:
        print(json.dumps({"requests": tally.sent, "seconds": seconds, "actions": rows}))
    else:
        _show(rows)
        print(f"{tally.sent} requests in {seconds:.1f} s, {tally.sent / seconds:.0f} a second.")
    if tally.failed >= MAX_FAILED:
        fault = f"{url} did not respond to {MAX_FAILED} consecutive requests; see the server's log"
        sys.exit(_fault(fault))
    if interrupted:
        sys.exit(130)
    if refused := refusals(rows):
        _fault(f"{url} served no avatar ({refused}); check that an avatar server has this URL")
        sys.exit(1)
    sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m avatar_demo.simulate", description=__doc__)
    add = parser.add_argument
    add("url", type=_url, help="URL of the server, such as http://127.0.0.1:8000")
    add("--requests", "-n", type=_positive, default=1000, help="number of requests")
    add("--concurrency", "-c", type=_positive, default=4, help="concurrent visitors")
    add("--rate", type=float, default=0.0, help="requests a second; 0: no limit")
    add("--seconds", type=float, default=0.0, help="end after so many seconds; 0: no limit")
    add("--pid", type=int, default=0, help="end with this process, such as that of the server")
    add("--random-state", type=int, default=1, help="equal numbers send equal requests")
    add(
        "--outside",
        action="store_true",
        help="send also requests that the server forwards to Gravatar",
    )
    add("--json", action="store_true", help="print JSON")
    return parser


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise argparse.ArgumentTypeError(f"{text} is not an http or https URL without user name")
    return text


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return int(text)


def _has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it runs as another user
        return False
    return False


def _fault(message: str) -> int:
    print(f"simulate: {message}", file=sys.stderr)
    return 2


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    print(f"{'action':26}{'requests':>8}  {'p50 ms':>8}{'p95 ms':>8}  responses")
    for row in rows:
        responses = " ".join(f"{code}:{number}" for code, number in row["statuses"].items())
        times = "".join(f"{row[name] * 1000:8.1f}" for name in ("p50_seconds", "p95_seconds"))
        print(f"{row['action']:26}{row['requests']:>8}  {times}  {responses}")


def _quantile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


def _digest(text: object) -> str:
    return hashlib.md5(str(text).encode(), usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    main()
