"""No word of a request in the message of an exception or of a log record, in ``balanced``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.http.scrub import words_of
from avatar_telemetry.logs.export import Encoder
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.wsgi.request import ENVIRON_KEY, sent_by_client
from tests.support.frames import log_record
from tests.support.otlp_records import plain
from tests.support.recorder import Recorder
from tests.support.wsgi_client import call, make_environ

LOGGER = logging.getLogger("shop")
SHAPES = (
    "{0}", "no {0}", "'({0}',)'", "Reverse for 'a' with arguments '('{0}',)' not found", "/{0}",
    "Not Found: /accounts/profile/{0}.{1}", "accounts/profile/{0}.{1}", "it's {0}, isn't it",
    "'{0}' and \"{1}", "x{0}y", "{0}_{1}", "{0}@{1}", "'a' {0} 'b'", "'{0}'{1}'", "\"'{0}\"' {1}",
)  # fmt: skip
OURS = words_of(*(route.template for route in PROFILE.routes), *SHAPES, "REDACTED no photo of")
WORDS = st.text(
    st.characters(categories=["Ll", "Lu", "Lo"], max_codepoint=0x24F), min_size=3, max_size=12
).filter(lambda word: not any(word.lower() in our or our in word.lower() for our in OURS))


class Kept(logging.Handler):
    """Encodes each record as the export does."""

    def __init__(self) -> None:
        super().__init__()
        self._encoder = Encoder(Privacy("balanced", b"key", sent=sent_by_client))
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        _, made = log_record(self._encoder.encode(record))
        self.texts.append(made.body.string_value)
        self.texts += [str(each) for key, each in plain(made.attributes).items()
                       if key == "exception.message"]  # fmt: skip


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    LOGGER.addHandler(handler)
    LOGGER.propagate = False
    yield handler
    LOGGER.removeHandler(handler)
    LOGGER.propagate = True


def bytes_of(text: str) -> str:
    """A text as WSGI shows its bytes."""
    return text.encode().decode("latin-1")


def fail_with(shape: str) -> Any:
    """An application that puts what it was sent into the messages of a log record and an error."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        form = dict(parse_qsl(environ["wsgi.input"].read().decode()))
        place = environ["HTTP_X_FROM"]
        sent = {
            "path": environ["PATH_INFO"].encode("latin-1").decode().strip("/").split("/"),
            "query": dict(parse_qsl(environ["QUERY_STRING"])).get("q", "").split(),
            "form": form.get("user", "").split(),
            "cookie": environ["HTTP_COOKIE"].encode("latin-1").decode()[2:].split("-"),
        }[place]
        text = shape.format(sent[-2], sent[-1])
        LOGGER.warning("no photo of %s", text)
        LOGGER.error(f"no photo of {text}")
        try:
            raise LookupError(text)
        except LookupError as error:
            LOGGER.exception("no photo of %r", sent)
            raise ValueError(f"no photo of {text}") from error

    return application


@settings(  # the list takes the place of the profile's
    suppress_health_check=[
        *settings.default.suppress_health_check,
        HealthCheck.function_scoped_fixture,
    ]
)
@given(WORDS, WORDS, st.sampled_from(SHAPES), st.sampled_from(["path", "query", "form", "cookie"]))
@example("anna", "smith", "'('{0}',)'", "path")
@example("anna", "smith", "Not Found: /accounts/profile/{0}.{1}", "form")
@example("Ännä", "smith", "{0}", "path")
def test_no_word_of_a_request_survives(
    tmp_path: Path, kept: Kept, first: str, second: str, shape: str, place: str
) -> None:
    """Wherever in a request a word comes from, and however a message quotes it, it stays here."""
    recorder = Recorder(tmp_path, traced=True)
    kept.texts.clear()
    environ = make_environ(
        bytes_of(f"/accounts/{first}/{second}") if place == "path" else "/accounts/login/",
        "POST" if place == "form" else "GET",
        bytes_of(f"q={first}+{second}") if place == "query" else "",
        f"user={first}+{second}".encode() if place == "form" else b"",
        HTTP_COOKIE=bytes_of(f"s={first}-{second}") if place == "cookie" else "",
        HTTP_X_FROM=place,
    )
    with pytest.raises(ValueError):
        call(recorder.wrap(fail_with(shape)), environ)
    (event,) = recorder.server.events
    recorder.book.detach()
    texts = [*kept.texts, event.attributes["exception.message"]]
    assert len(texts) == 5
    for text in texts:
        assert first.lower() not in text.lower()
        assert second.lower() not in text.lower()
        assert "photo" in text or text == kept.texts[-1]


def test_the_path_of_the_request_becomes_its_template(tmp_path: Path, kept: Kept) -> None:
    """A message that names the path of its request has the route instead."""
    recorder = Recorder(tmp_path)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        LOGGER.warning("Not Found: %s", environ["PATH_INFO"])
        LOGGER.warning("Not Found: %s", "/anna/other")
        start_response("404 Not Found", [])
        return []

    call(recorder.wrap(application), make_environ("/accounts/profile/anna.smith"))
    recorder.book.detach()
    assert kept.texts == ["Not Found: /accounts/profile/{user}", "Not Found: REDACTED"]


def test_error_that_the_application_answers_by_itself(tmp_path: Path) -> None:
    """A message is scrubbed too where the request ends outside of the application."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ[ENVIRON_KEY].application_error(ValueError("no photo of anna"))
        start_response("500 Oh", [("Content-Type", "text/plain")])
        return [b"sorry", b"!"]

    recorder = Recorder(tmp_path, traced=True)
    call(recorder.wrap(application), path="/accounts/profile/anna")
    (event,) = recorder.server.events
    recorder.book.detach()
    message = event.attributes["exception.message"]
    assert message.startswith("no photo of ")
    assert "anna" not in message
