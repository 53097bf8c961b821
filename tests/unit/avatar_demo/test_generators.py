"""Generated pictures follow from the digest alone."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_demo.generators import GENERATORS

ALL = pytest.mark.parametrize("name", GENERATORS)
DIGESTS = [hashlib.md5(str(number).encode()).hexdigest() for number in range(12)]


@ALL
@pytest.mark.parametrize("size", [1, 2, 17, 80, 512])
def test_size(name, size):
    """A picture is a square of the requested size."""
    assert GENERATORS[name].draw(DIGESTS[0], size).size == (size, size)


@ALL
def test_same(name):
    """The same digest gives the same picture."""
    first, second = (GENERATORS[name].draw(DIGESTS[0], 80).tobytes() for _ in range(2))
    assert first == second


@ALL
def test_different(name):
    """Different digests give different pictures."""
    pictures = {GENERATORS[name].draw(digest, 80).tobytes() for digest in DIGESTS}
    assert len(pictures) == len(DIGESTS)


@ALL
def test_not_blank(name):
    """A picture shows something: it has several colours."""
    for digest in DIGESTS:
        assert len(GENERATORS[name].draw(digest, 80).getcolors(80 * 80)) > 1


@ALL
@settings(max_examples=settings.default.max_examples // 5)
@given(digest=st.text(min_size=32, max_size=32))
def test_any_digest(name, digest):
    """Whatever 32 characters there are, a picture is drawn of them."""
    assert GENERATORS[name].draw(digest, 16).size == (16, 16)


def test_classes_can_be_patched(monkeypatch):
    """Each drawing looks its generator up in the table, and the method in its class."""
    seen = []
    kind = type(GENERATORS["identicon"])
    monkeypatch.setattr(kind, "draw", lambda self, digest, size: seen.append((digest, size)))
    GENERATORS["identicon"].draw("a", 3)
    assert seen == [("a", 3)]
