"""An avatar request: cached, uploaded, drawn, or sent elsewhere."""

import hashlib
from io import BytesIO

import pytest
from PIL import Image

from avatar_demo.cache import MemoryCache

D32, D64 = "a" * 32, "b" * 64
NOBODY = "/static/img/nobody/80.png"
ANN = hashlib.md5(b"ann@example.org").hexdigest()


@pytest.mark.parametrize(
    ("path", "location"),
    [
        pytest.param("/avatar/", "/", id="no digest"),
        pytest.param("/avatar/xyz", "/static/img/deadbeef.png", id="invalid digest"),
        pytest.param("/avatar/a-b", "/static/img/deadbeef.png", id="no digest"),
        pytest.param(f"/avatar/{D32}", NOBODY, id="no default"),
        pytest.param(f"/avatar/{D64}", NOBODY, id="SHA-256"),
        pytest.param(f"/avatar/{D32}.png", NOBODY, id="suffix"),
        pytest.param(f"//avatar/{D32}", NOBODY, id="two slashes"),
        pytest.param(f"/x/avatar/{D32}", NOBODY, id="a prefix"),
        pytest.param(f"/avatar/{D32}?d=mm", "/static/img/mm/80.png", id="mm"),
        pytest.param(f"/avatar/{D32}?d=mp&s=48", "/static/img/mm/48.png", id="mp with a size"),
        pytest.param(f"/avatar/{D32}?d=mp&s=47", "/static/img/mm/512.png", id="odd size"),
        pytest.param(f"/avatar/{D32}?d=http://e.org/a.png", "http://e.org/a.png", id="URL"),
        pytest.param(f"/avatar/{D32}?d=https://e.org/?a%3Db", "https://e.org/?a=b", id="query"),
        pytest.param(f"/avatar/{D32}?d=javascript:alert(1)", NOBODY, id="script"),
        pytest.param(f"/avatar/{D32}?d=//e.org/", NOBODY, id="no scheme"),
        pytest.param(f"/avatar/{D32}?d=http://[", NOBODY, id="broken URL"),
        pytest.param(f"/avatar/{D32}?d=http://e.org/%0d%0aX:1", NOBODY, id="header injection"),
        pytest.param(f"/avatar/{D32}?d=unknown", NOBODY, id="unknown name"),
        pytest.param(f"/avatar/{D32}?d=404&default=mm", "/static/img/mm/80.png", id="default wins"),
        pytest.param(
            f"/avatar/{D32}?gravatarredirect=y&d=retro&s=9",
            f"https://secure.gravatar.com/avatar/{D32}?s=9",
            id="to Gravatar",
        ),
        pytest.param(f"/avatar/{D32}?gravatarredirect=y&f=y", NOBODY, id="forced wins"),
    ],
)
def test_redirects(browser, path, location):
    """A digest without a photo redirects to the default of its query."""
    response = browser.get(path)
    assert (response.status_int, response.headers["Location"]) == (302, location)


def test_404(browser):
    """``d=404`` responds with 404 and sets no cookie."""
    response = browser.get(f"/avatar/{D32}?d=404")
    assert response.status_int == 404
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize(
    ("query", "size"),
    [
        pytest.param("", 80, id="none"),
        pytest.param("&s=40", 40, id="s"),
        pytest.param("&size=41", 41, id="size"),
        pytest.param("&s=40&size=41", 41, id="size wins"),
        pytest.param("&s=40&size=", 80, id="an empty size wins, too"),
        pytest.param("&s=0", 80, id="zero"),
        pytest.param("&s=-5", 80, id="negative"),
        pytest.param("&s=big", 80, id="no number"),
        pytest.param("&s=" + "9" * 5000, 80, id="absurd"),
        pytest.param("&s=513", 512, id="too large"),
        pytest.param("&s=1", 1, id="smallest"),
        pytest.param("&s=10&s=20", 20, id="the last counts"),
    ],
)
def test_sizes(browser, query, size):
    """The size follows ivatar's rules."""
    response = browser.get(f"/avatar/{D32}?d=retro{query}")
    assert Image.open(BytesIO(response.body)).size == (size, size)


@pytest.mark.parametrize(
    "word", ["identicon", "monsterid", "robohash", "retro", "pagan", "wavatar", "mmng"]
)
def test_generated(browser, word):
    """Every generator's name gives a PNG that may be kept for five minutes."""
    response = browser.get(f"/avatar/{D32}?d={word}&s=30")
    assert (response.status_int, response.content_type) == (200, "image/png")
    assert response.headers["Cache-Control"] == "max-age=300"


def test_photo(member, photo):
    """The addresses of a user get the first photo after its crop, by both digests."""
    member.post("/accounts/add_openid/", {"openid": "http://Ann.Example.org"})
    member.upload(photo("JPEG"))
    assert member.post("/accounts/crop_photo/1", {"x": "0", "w": "40", "h": "40"}).status_int == 302
    sha = hashlib.sha256(b"ann@example.org").hexdigest()
    openid = hashlib.sha256(b"https://ann.example.org/").hexdigest()
    for digest in (ANN, sha, openid, ANN + ".jpg"):
        response = member.get(f"/avatar/{digest}?s=20&d=404")
        assert (response.status_int, response.content_type) == (200, "image/jpeg")
        assert Image.open(BytesIO(response.body)).size == (20, 20)
    assert member.get(f"/avatar/{ANN}?s=20&d=404&f=y").status_int == 404
    assert "shown 4 times" in member.get("/accounts/profile/").text


class CountingCache(MemoryCache):
    def __init__(self):
        super().__init__()
        self.keys = []

    def get(self, key):
        self.keys.append(key)
        return super().get(key)


@pytest.fixture
def cache(monkeypatch):
    cache = CountingCache()
    monkeypatch.setattr("avatar_demo.site.MemoryCache", lambda: cache)
    return cache


def test_cache_is_asked_once(cache, member, photo):
    """Every avatar request asks the cache exactly once; the second gets its response from it."""
    member.upload(photo())
    member.post("/accounts/crop_photo/1")
    cache.keys.clear()
    for query in ("d=retro&f=y", "s=30", "d=404&f=y", "f=y"):
        first, second = (member.get(f"/avatar/{ANN}?{query}") for _ in range(2))
        assert first.body == second.body
        assert len(cache.keys) == 2
        cache.keys.clear()
    assert "shown 1 times" in member.get("/accounts/profile/").text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(f"/avatar/{D32}?d=retro&s=9", f"/avatar/{D32}%3Fd=retro&s=9?d=pagan", id="?"),
        pytest.param(f"/avatar/{D32}?d=retro", f"/avatar/{D32}?d=retro&s=81", id="size"),
        pytest.param(f"/avatar/{D32}?d=retro", f"/avatar/{D64}?d=retro", id="digest"),
    ],
)
def test_cache_keys_differ(browser, one, other):
    """Two requests with different responses never share an entry of the cache."""
    first = browser.get(one).body
    assert browser.get(other).body != first
    assert browser.get(one).body == first


def test_gravatar_enabled(environ, new_browser, make_application):
    """With the proxy enabled, a digest without photo goes there unless its query forbids it."""
    browser = new_browser(make_application({**environ, "DEMO_GRAVATAR": "1"}))
    answers = {
        "": f"/gravatarproxy/{D32}?s=80",
        "?s=20": f"/gravatarproxy/{D32}?s=20",
        "?gravatarproxy=n": NOBODY,
        "?f=y": NOBODY,
        "?d=mm": "/static/img/mm/80.png",
    }
    for query, location in answers.items():
        assert browser.get(f"/avatar/{D32}{query}").headers["Location"] == location


@pytest.mark.parametrize(
    "path",
    ["/avatar/%c3%a4" + "a" * 31, "/avatar/%ff" + "a" * 32, f"/avatar/{D32}?d=%ff&s=%00&%ff=1"],
)
def test_odd_bytes(browser, path):
    """Bytes that are no UTF-8 or no ASCII do not break a request."""
    assert browser.get(path).status_int == 302
