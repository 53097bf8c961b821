"""Label sets: closed, whatever comes in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.http import labels

ANY = st.text(st.characters(), max_size=400)


@pytest.mark.parametrize("name", labels.METHODS[:-1])
def test_known_method(name: str) -> None:
    """A method of the standard keeps its name."""
    assert labels.method(name) == name


@pytest.mark.parametrize("name", ["", "get", "PROPFIND", "GET ", "other", "G\x00T"])
def test_unknown_method(name: str) -> None:
    """Any other method, another case included, is other."""
    assert labels.method(name) == "other"


@pytest.mark.parametrize(
    ("code", "label"),
    [
        pytest.param(200, "200", id="number"),
        pytest.param("404", "404", id="text"),
        pytest.param(100, "100", id="lowest"),
        pytest.param("599", "599", id="highest"),
        pytest.param(99, "other", id="below"),
        pytest.param("600", "other", id="above"),
        pytest.param("", "other", id="none-sent"),
        pytest.param("20x", "other", id="not-a-number"),
        pytest.param("\u0662\u0660\u0660", "other", id="foreign-digits"),
    ],
)
def test_status(code: int | str, label: str) -> None:
    """A status from 100 to 599 keeps its number, as a number or as text."""
    assert labels.status(code) == label


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        pytest.param("image/png", "png", id="png"),
        pytest.param("image/png; charset=x", "png", id="parameter"),
        pytest.param(" IMAGE/PNG ", "png", id="case-and-space"),
        pytest.param("image/x-png", "png", id="x-png"),
        pytest.param("image/jpeg", "jpg", id="jpeg"),
        pytest.param("image/jpg", "jpg", id="jpg"),
        pytest.param("image/pjpeg", "jpg", id="pjpeg"),
        pytest.param("image/gif", "gif", id="gif"),
        pytest.param("image/webp", "webp", id="webp"),
        pytest.param("image/svg+xml", "svg", id="svg"),
        pytest.param("image/avif", "avif", id="avif"),
        pytest.param("image/tiff", "other", id="another-image"),
        pytest.param("image/", "other", id="image-of-no-kind"),
        pytest.param("image", "", id="no-slash"),
        pytest.param("text/html; x=image/png", "", id="page"),
        pytest.param("other", "", id="the-word-other"),
        pytest.param("", "", id="none-sent"),
    ],
)
def test_image_format(content_type: str, form: str) -> None:
    """The format follows from the content type, and is empty where there is no image."""
    assert labels.image_format(content_type) == form


@pytest.mark.parametrize(
    ("path", "form"),
    [
        pytest.param("/avatar/abc.png", "png", id="png"),
        pytest.param("/avatar/abc.JPG", "jpg", id="upper-case"),
        pytest.param("/avatar/abc.jpeg", "jpg", id="jpeg"),
        pytest.param("/avatar/abc.gif", "gif", id="gif"),
        pytest.param("/avatar/abc.webp", "webp", id="webp"),
        pytest.param("/avatar/abc.svg", "svg", id="svg"),
        pytest.param("/avatar/abc.avif", "avif", id="avif"),
        pytest.param("/avatar/abc.x.png", "png", id="last-dot"),
        pytest.param("/avatar/abc.bmp", "other", id="another-suffix"),
        pytest.param("/avatar/abc.none", "other", id="the-word-none"),
        pytest.param("/avatar/abc.other", "other", id="the-word-other"),
        pytest.param("/avatar/abc", "none", id="no-suffix"),
        pytest.param("/avatar/abc.", "none", id="empty-suffix"),
        pytest.param("/avatar/.png", "none", id="only-a-suffix"),
        pytest.param("/avatar/a@example.photography", "none", id="too-long"),
        pytest.param("/avatar.png/abc", "none", id="dot-in-another-segment"),
        pytest.param("abc.png", "png", id="no-slash"),
        pytest.param("", "none", id="empty"),
    ],
)
def test_suffix_format(path: str, form: str) -> None:
    """The format that a path asks for is the suffix of its last segment."""
    assert labels.suffix_format(path) == form


@pytest.mark.parametrize(
    ("content_type", "label"),
    [
        *(pytest.param(name, name, id=name) for name in labels.UPLOAD_TYPES[:-1]),
        pytest.param("image/jpg", "image/jpeg", id="jpg"),
        pytest.param("Image/PNG;name=x", "image/png", id="case-and-parameter"),
        pytest.param("image/bmp", "other", id="another-image"),
        pytest.param("application/gzip", "other", id="export"),
        pytest.param("", "other", id="none-sent"),
    ],
)
def test_upload_type(content_type: str, label: str) -> None:
    """An uploaded file of a known image type counts under the registered name of that type."""
    assert labels.upload_type(content_type) == label


@pytest.mark.parametrize(
    ("pixels", "label"), [(80, "80"), (81, "other"), (None, "other"), (10**30, "other")]
)
def test_size_label(pixels: int | None, label: str) -> None:
    """A listed size has its own label, and all others share one."""
    assert labels.size_label(pixels, {80: "80"}) == label


SERVICES = {"gravatar.com": "gravatar", "cdn.bsky.app": "bluesky", "a.gravatar.com": "mirror"}


@pytest.mark.parametrize(
    ("host", "label"),
    [
        pytest.param("gravatar.com", "gravatar", id="itself"),
        pytest.param("secure.gravatar.com", "gravatar", id="subdomain"),
        pytest.param("x.y.gravatar.com", "gravatar", id="deeper-subdomain"),
        pytest.param("x.a.gravatar.com", "mirror", id="nearest-host-listed"),
        pytest.param("Gravatar.COM", "gravatar", id="case"),
        pytest.param("gravatar.com.", "gravatar", id="dot-of-the-root"),
        pytest.param("bsky.app", "other", id="parent-of-a-listed-host"),
        pytest.param("notgravatar.com", "other", id="same-ending"),
        pytest.param("gravatar.com.evil.example", "other", id="same-beginning"),
        pytest.param("192.0.2.1", "other", id="address"),
        pytest.param("2001:db8::1", "other", id="address-6"),
        pytest.param("", "other", id="empty"),
        pytest.param(".", "other", id="dot"),
        pytest.param("." * 70_000 + "gravatar.com", "other", id="longer-than-any-name"),
    ],
)
def test_service(host: str, label: str) -> None:
    """A host counts for the service of the nearest listed host that it belongs to."""
    assert labels.service(host, SERVICES) == label


@given(ANY)
def test_sets_are_closed(text: str) -> None:
    """Whatever the text, every function answers with a member of its set."""
    assert labels.method(text) in labels.METHODS
    assert labels.status(text) in labels.STATUSES
    assert labels.image_format(text) in {*labels.FORMATS, ""} - {labels.NONE}
    assert labels.image_format("image/" + text) in {*labels.FORMATS} - {labels.NONE}
    assert labels.suffix_format(text) in labels.FORMATS
    assert labels.suffix_format("a." + text) in labels.FORMATS
    assert labels.upload_type(text) in labels.UPLOAD_TYPES
    assert labels.service(text, SERVICES) in {*SERVICES.values(), labels.OTHER}


@given(st.integers())
def test_status_numbers(code: int) -> None:
    """Whatever the number, a status is a member of its set."""
    assert labels.status(code) in labels.STATUSES
