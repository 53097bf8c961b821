"""Clients of the Django project that know what they did; see ``demo_client`` for the rest."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

from tests.support.demo_client import SIZES, DemoClient, md5

GENERATORS = ("monsterid", "robohash", "retro", "pagan", "identicon", "mmng")
FATAL_PREFIX = "bad0"


class DjangoClient(DemoClient):
    """One user of the Django project, which has no static files."""

    pages = (
        *DemoClient.pages[:-1], ("/static/style.css", "/static/{file}", 404),
        ("/accounts/profile/me@example.com", "/accounts/profile/{user}", 200),
        ("/accounts/reset/MQ/secret/", "/accounts/reset/{uid}/{token}/", 200),
    )  # fmt: skip

    def mix(self) -> list[tuple[Callable[[], object], float]]:
        return [
            *super().mix(), (self.broken_avatar, 3), (self.bare_avatar, 3), (self.reset, 1),
            (self.sent_to_the_proxy, 3),
        ]  # fmt: skip

    def drawn_avatar(self) -> None:
        size, label = self._random.choice(list(SIZES.items()))
        query = urlencode({"s": size, "d": self._random.choice(GENERATORS), "f": "y"})
        path = f"/avatar/{self._random.choice(self._digests)}?{query}"
        self._get(path, "/avatar/{digest}", 200)
        hit = self._look_up(path)
        self.tally.avatar(200, label, "png")
        self.tally.cache(hit=hit, size=label, form="png")
        if not hit:
            self.tally.made(label, "png", "generated")

    def missing_avatar(self) -> None:
        self._missed(f"/avatar/{md5(self._name)}.jpg?d=404&f=y", 404, "80", "jpg")

    def redirected_avatar(self) -> None:
        self._missed(f"//avatar/{md5(self._name) * 2}?s=64&d=mm&f=y", 302, "64", "none")

    def sent_to_the_proxy(self) -> None:
        self._missed(f"/x/avatar/{md5(self._name)}", 302, "80", "none")

    def bare_avatar(self) -> None:
        """No digest at all; the cache is asked before that is seen."""
        self._get("/avatar/", "/avatar/", 302)
        self.tally.avatar(302, "80", "none")
        self.tally.cache(hit=False, size="80", form="none")

    def broken_avatar(self) -> None:
        """A generator raises; Django makes a 500 of it."""
        digest = FATAL_PREFIX + md5(self._name)[4:]
        self._missed(f"/avatar/{digest}?d=monsterid&f=y", 500, "80", "none")

    def reset(self) -> None:
        """Ask for a new password."""
        self._get("/accounts/password_reset/", "/accounts/password_reset/", 200)
        form = {"email": self._email}
        self._post("/accounts/password_reset/", "/accounts/password_reset/", 302, form)
        self.tally.attempt("password_reset", success=True)

    def _missed(self, path: str, status: int, size: str, form: str) -> None:
        self._get(path, "/avatar/{digest}", status)
        self.tally.avatar(status, size, form)
        self.tally.cache(hit=False, size=size, form=form)
