"""The outcome of a request: what is remembered of it, and the success of uploads and logins."""

from __future__ import annotations

from typing import Any

import pytest

from avatar_telemetry.profiles.model import Profile, Route
from avatar_telemetry.wsgi import outcome
from avatar_telemetry.wsgi.outcome import MAX_QUERY_LENGTH
from tests.support.recorder import DIGEST, Recorder
from tests.support.wsgi_client import call

AVATAR = f"/avatar/{DIGEST}"
FILE = (
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n'
    b"Content-Type: %s\r\n\r\n%s\r\n"
)


def image(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "image/png")])
    return [b"png"]


@pytest.mark.parametrize(
    ("length", "remembered"), [(MAX_QUERY_LENGTH, True), (MAX_QUERY_LENGTH + 1, False)]
)
def test_a_long_query_is_not_remembered(recorder: Recorder, length: int, remembered: bool) -> None:
    """A query that no page has written takes no place, and its request counts all the same."""
    query = "s=80&".ljust(length, "x")
    assert len(query) == length
    call(recorder.wrap(image), path=AVATAR, query=query)
    assert bool(recorder.telemetry.outcomes.known) is remembered
    assert recorder.value("ivatar_avatar_requests_total", size="80", format="png") == 1


def test_what_no_picture_answered_counts_by_its_path(recorder: Recorder) -> None:
    """Without a picture the format is that of the path."""

    def missing(environ: Any, start_response: Any) -> list[bytes]:
        start_response("404 Not Found", [("Content-Type", "text/html")])
        return [b""]

    for suffix in (".png", ".webp"):
        call(recorder.wrap(missing), path=AVATAR + suffix)
    assert recorder.value("ivatar_avatar_requests_total", format="png") == 1
    assert recorder.value("ivatar_avatar_requests_total", format="webp") == 1


def test_outcomes_are_kept_within_a_bound(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients choose a part of what a outcome follows from."""
    monkeypatch.setattr(outcome, "MAX_OUTCOMES", 3)
    for number in range(8):
        call(recorder.wrap(image), path=AVATAR, query=f"s={number}")
        assert len(recorder.telemetry.outcomes.known) <= 3
    assert recorder.value("ivatar_avatar_requests_total") == 8


def test_a_remembered_answer_counts_as_the_first(recorder: Recorder) -> None:
    """Size, format and source come from what is remembered of an equal answer."""
    for _ in range(3):
        call(recorder.wrap(image), path=AVATAR, query="s=80")
    assert len(recorder.telemetry.outcomes.known) == 1
    assert recorder.value("ivatar_avatar_requests_total", size="80", format="png") == 3


def profile_of(kind: Any, succeeded: Any) -> Profile:
    route = Route(r"^/tried\Z", "/tried", kind, operation="login", succeeded=succeeded)
    return Profile("test", (route,))


def trying(status: str = "200 OK", tell: Any = lambda request: None) -> Any:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        tell(environ["avatar_telemetry.request"])
        start_response(status, [("Location", "/next")])
        return [b""]

    return application


@pytest.mark.parametrize(
    ("status", "code"), [("302 Found", 302), ("999 Odd", 0), ("odd", 0), ("099 Low", 0)]
)
def test_the_rule_is_asked_with_the_answer(recorder: Recorder, status: str, code: int) -> None:
    """Method, status code (0 where it is none) and Location are all that a rule learns."""
    asked = []
    recorder = recorder.using(
        routes=profile_of("auth", lambda *answer: asked.append(answer) or True).routes
    )
    call(recorder.wrap(trying(status)), path="/tried", method="POST")
    assert asked == [("POST", code, "/next")]
    assert recorder.labels("ivatar_auth_attempts_total") == [
        {"operation": "login", "success": "true"}
    ]
    recorder.book.detach()


def test_what_the_application_reports_overrules_the_rule(recorder: Recorder) -> None:
    """A program that reports a success by hand knows better than its answer."""

    def tell(request: Any) -> None:
        request.reported_success = False

    recorder = recorder.using(routes=profile_of("auth", lambda *answer: True).routes)
    call(recorder.wrap(trying(tell=tell)), path="/tried")
    assert recorder.labels("ivatar_auth_attempts_total") == [
        {"operation": "login", "success": "false"}
    ]
    recorder.book.detach()


@pytest.mark.parametrize(
    ("files", "kind", "sizes"),
    [
        pytest.param([(b"image/png", 10)], "image/png", 10, id="one"),
        pytest.param([(b"image/png", 10), (b"image/gif", 5)], "image/png", 15, id="two"),
    ],
)
def test_an_upload_counts_once_and_each_file_is_measured(
    recorder: Recorder, files: list[tuple[bytes, int]], kind: str, sizes: int
) -> None:
    """The first file names the type of the upload; the sizes of all files are observed."""
    recorder = recorder.using(routes=profile_of("upload", lambda *answer: True).routes)
    body = b"".join(FILE % (type_, b"x" * size) for type_, size in files) + b"--b--\r\n"
    call(
        recorder.wrap(trying()), path="/tried", method="POST", body=body,
        CONTENT_TYPE="multipart/form-data; boundary=b",
    )  # fmt: skip
    assert recorder.labels("ivatar_file_uploads_total") == [
        {"content_type": kind, "success": "true"}
    ]
    assert recorder.value("ivatar_file_upload_size_bytes_sum") == sizes
    assert recorder.value("ivatar_file_upload_size_bytes_count") == len(files)
    recorder.book.detach()


def test_an_attempt_of_nothing_counts_nothing(recorder: Recorder) -> None:
    """A rule that answers None has seen a form being looked at."""
    recorder = recorder.using(routes=profile_of("auth", lambda *answer: None).routes)
    call(recorder.wrap(trying()), path="/tried")
    assert recorder.labels("ivatar_auth_attempts_total") == []
    recorder.book.detach()


def test_a_rule_that_raises_costs_its_own_count_only(recorder: Recorder, tmp_path: Any) -> None:
    """The request of a broken profile is counted, and the failure too."""
    folder = tmp_path / "broken"
    folder.mkdir()

    def broken(*answer: Any) -> bool:
        raise ValueError("mine")

    failing = Recorder(folder, profile_of("auth", broken))
    call(failing.wrap(trying()), path="/tried")
    assert failing.value("ivatar_requests_total", path="/tried") == 1
    assert failing.value("avatar_telemetry_internal_errors_total", where="succeeded") == 1
    assert failing.labels("ivatar_auth_attempts_total") == []
    failing.book.detach()
