"""The probe of Pillow, with Pillow."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from avatar_telemetry.probes import named, pillow
from avatar_telemetry.probes.pillow import MAX_SPANS
from avatar_telemetry.wsgi.request import CURRENT
from tests.support.cache_requests import within
from tests.support.recorder import Recorder
from tests.support.traced import Spans, traced

opened_early = Image.open
pillow.install()
MADE = "ivatar_avatars_generated_total"


def photo(form: str = "JPEG", edge: int = 100) -> BytesIO:
    file = BytesIO()
    Image.new("RGB", (edge, edge), "teal").save(file, form)
    file.seek(0)
    return file


def described(form: str | None, edge: int) -> dict[str, object]:
    size = {"image.width": edge, "image.height": edge}
    return size | ({"image.format": form} if form else {})


def scale(file: BytesIO) -> None:
    """What an avatar server does to a photo."""
    image = Image.open(fp=file)
    image.thumbnail((80, 80))
    image.resize((64, 64)).save(BytesIO(), "PNG")


def test_where_the_time_goes(recorder: Recorder) -> None:
    """Each step of a photo is one span, whatever Pillow calls to do it."""
    spans = Spans()

    def work() -> None:
        with traced(spans):
            scale(photo())

    within(recorder, work)
    # The photo itself was made and saved within the request, too.
    assert spans.names == ["image.save", "image.open", "image.thumbnail", "image.resize",
                           "image.save"]  # fmt: skip
    assert spans.attributes("image.open") == [described("jpg", 100)]
    assert spans.attributes("image.thumbnail") == [described("jpg", 80)]
    assert spans.attributes("image.resize") == [described(None, 64)]
    assert spans.attributes("image.save") == [described("jpg", 100), described("png", 64)]


@pytest.mark.parametrize(
    ("save", "form"),
    [
        pytest.param(lambda image, file: image.save(file, format="webp"), "webp", id="by name"),
        pytest.param(lambda image, file: image.save(file, "BMP"), "other", id="unusual"),
    ],
)
def test_the_format_of_a_saved_picture(recorder: Recorder, save, form: str) -> None:
    """A format is one of a few words."""
    spans = Spans()

    def work() -> None:
        with traced(spans):
            save(Image.new("RGB", (9, 9)), BytesIO())

    within(recorder, work)
    assert spans.attributes("image.save") == [described(form, 9)]


@pytest.mark.parametrize(
    ("function", "changes", "source"),
    [
        pytest.param(lambda file: scale(file), {}, "uploaded", id="opened and saved"),
        pytest.param(lambda file: Image.open(file), {}, None, id="only opened"),
        pytest.param(lambda file: Image.new("RGB", (1, 1)).save(BytesIO(), "PNG"), {}, None,
                     id="only saved"),
        pytest.param(lambda file: (tell_hit(), scale(file)), {}, None, id="from the cache"),
        pytest.param(lambda file: (tell_call(), scale(file)), {}, None, id="from outside"),
        pytest.param(lambda file: (tell_drawn(), scale(file)), {}, "generated", id="drawn"),
        pytest.param(lambda file: scale(file), {"image_without_generator": ""}, None,
                     id="the profile does not know"),
    ],
)  # fmt: skip
def test_an_uploaded_photo(tmp_path: Path, function, changes, source) -> None:
    """A photo that was opened and saved is an uploaded one where nothing else can be."""
    recorder = Recorder(tmp_path).using(**changes)
    file = photo()
    within(recorder, lambda: function(file))
    assert [each["source"] for each in recorder.labels(MADE)] == ([source] if source else [])
    recorder.book.detach()


def tell_hit() -> None:
    request = CURRENT.get()
    assert request is not None
    request.cache_lookup("django:filesystem", hit=True)


def tell_call() -> None:
    request = CURRENT.get()
    assert request is not None
    request.outside_call("example.com", 0.1, success=True)


def tell_drawn() -> None:
    request = CURRENT.get()
    assert request is not None
    request.generated("pagan:Avatar")


def test_what_fails(recorder: Recorder) -> None:
    """What is no picture raises as it does, and was not opened."""
    spans = Spans()

    def work() -> None:
        with traced(spans), pytest.raises(OSError):
            Image.open(BytesIO(b"no picture"))

    within(recorder, work)
    (attributes,) = spans.attributes("image.open")
    assert attributes == {"error.type": "PIL.UnidentifiedImageError"}


def test_an_animation_has_an_end(recorder: Recorder) -> None:
    """Spans of one request are bounded; what was done is known all the same."""
    spans = Spans()

    def work() -> None:
        with traced(spans):
            image = Image.open(photo())
            for _ in range(2 * MAX_SPANS):
                image.resize((2, 2))
            image.save(BytesIO(), "PNG")

    within(recorder, work)
    assert len(spans.ended) == MAX_SPANS
    assert recorder.value(MADE, source="uploaded") == 1


def test_what_a_generator_does_is_the_generators(recorder: Recorder) -> None:
    """The pictures that a generator opens and pastes are not shown beside it."""
    spans = Spans()

    def work() -> None:
        with traced(spans):
            named._around_generator("a:b")(lambda: scale(photo()))()

    within(recorder, work)
    assert spans.names == ["avatar.draw"]
    assert recorder.value(MADE, source="generated") == 1


def test_an_image_of_the_applications_own(tmp_path: Path) -> None:
    """An image without size or format is saved; that we cannot describe it is our failure."""

    class Odd(Image.Image):
        @property
        def size(self):
            raise RuntimeError("unknown")

        def save(self, fp, format=None, **params):
            return "saved"

    recorder = Recorder(tmp_path)
    saved = []

    def work() -> None:
        with traced(Spans()):
            saved.append(pillow._around("save")(Odd.save)(Odd(), BytesIO()))

    within(recorder, work)
    assert saved == ["saved"]
    assert recorder.value("avatar_telemetry_internal_errors_total", where="probes") == 1
    recorder.book.detach()


def test_outside_of_a_request() -> None:
    """Pillow works as it does."""
    scale(photo("GIF"))


def test_who_imported_open_by_name(recorder: Recorder) -> None:
    """``from PIL.Image import open`` before the probe makes no difference."""
    spans = Spans()
    file = photo()

    def work() -> None:
        with traced(spans):
            opened_early(file)

    within(recorder, work)
    assert spans.names == ["image.open"]
