"""The records at the end of a request: avatars, uploads, authentication."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest

from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR
from avatar_telemetry.profiles.model import Route
from avatar_telemetry.wsgi.middleware import Layer, TelemetryMiddleware
from avatar_telemetry.wsgi.request import CURRENT
from tests.support.recorder import DIGEST, Recorder
from tests.support.wsgi_client import call

AVATAR = f"/avatar/{DIGEST}"
CACHE = "django:filesystem"
GENERATOR = "pagan:Avatar"


def image(kind="image/png", status="200 OK", tell=lambda request: None):
    """An application that answers with a picture, after a probe has told something."""

    def application(environ, start_response):
        tell(CURRENT.get())
        start_response(status, [("Content-Type", kind)])
        return [b"picture"]

    return application


@pytest.mark.parametrize(
    ("path", "query", "kind", "status", "labels"),
    [
        pytest.param(AVATAR, "", "image/png", "200 OK", ("200", "80", "png"), id="default"),
        pytest.param(AVATAR, "s=128", "image/jpeg", "200 OK", ("200", "128", "jpg"), id="jpeg"),
        pytest.param(AVATAR + ".jpg", "size=9999", "text/html", "404 No", ("404", "512", "jpg"),
                     id="suffix of what is no image"),
        pytest.param(AVATAR, "s=81", "text/html", "302 Found", ("302", "other", "none"),
                     id="odd size, redirect"),
        pytest.param(AVATAR + ".gif", "", "image/x-odd", "200 OK", ("200", "80", "other"),
                     id="odd image"),
    ],
)  # fmt: skip
def test_labels_of_an_avatar_request(recorder: Recorder, path, query, kind, status, labels) -> None:
    """Status, size and format come from the response first, from the request where it is silent."""
    call(recorder.wrap(image(kind, status)), path=path, query=query)
    status_code, size, form = labels
    assert recorder.labels("ivatar_avatar_requests_total") == [
        {"status_code": status_code, "size": size, "format": form}
    ]


def hit(request):
    request.cache_lookup(CACHE, hit=True)
    request.cache_lookup(CACHE, hit=False)


def miss(request):
    request.cache_lookup("pymemcache", hit=True)  # not the avatar cache of this profile
    request.cache_lookup(CACHE, hit=False)
    request.cache_lookup(CACHE, hit=True)


def drawn(request):
    miss(request)
    request.generated(GENERATOR)


def fetched(request):
    miss(request)
    request.outside_call("secure.gravatar.com", 0.1, success=True)


@pytest.mark.parametrize(
    ("path", "tell", "status", "cache", "source"),
    [
        pytest.param(AVATAR, hit, "200 OK", "hits", None, id="cached"),
        pytest.param(AVATAR, drawn, "200 OK", "misses", "generated", id="drawn"),
        pytest.param(AVATAR, miss, "200 OK", "misses", "uploaded", id="a photo"),
        pytest.param(AVATAR, fetched, "200 OK", "misses", None, id="not sure: outside call"),
        pytest.param(AVATAR, miss, "404 No", "misses", None, id="no picture"),
        pytest.param(AVATAR, lambda request: None, "200 OK", None, None, id="nothing seen"),
        pytest.param("/gravatarproxy/" + DIGEST, hit, "200 OK", None, "external", id="proxy"),
        pytest.param("/gravatarproxy/" + DIGEST, hit, "302 Found", None, None, id="proxy, none"),
    ],
)
def test_where_a_picture_came_from(recorder: Recorder, path, tell, status, cache, source) -> None:
    """A picture is counted as made only where what was seen leaves no doubt about its source."""
    call(recorder.wrap(image(status=status, tell=tell)), path=path)
    for word in ("hits", "misses"):
        assert recorder.value(f"ivatar_avatar_cache_{word}_total") == (word == cache)
    made = [each["source"] for each in recorder.labels("ivatar_avatars_generated_total")]
    assert made == ([source] if source else [])
    assert recorder.value("ivatar_avatar_generation_seconds_count") == len(made)


def opened_and_saved(request):
    request.image_step("open")
    request.image_step("save")


def test_what_is_remembered_of_one_request_is_not_said_of_another(recorder: Recorder) -> None:
    """Of two requests with the same answer, the one that opened and saved a picture has made it."""
    for tell in (lambda request: None, opened_and_saved, lambda request: None):
        call(recorder.wrap(image(tell=tell)), path=AVATAR)
    assert recorder.value("ivatar_avatars_generated_total", source="uploaded") == 1
    assert recorder.value("ivatar_avatars_generated_total") == 1


def test_applications_with_other_sizes(recorder: Recorder) -> None:
    """The labels of one application's response are not used for another one in the process."""
    telemetry = replace(recorder.telemetry, profile=replace(IVATAR, size=lambda query: 512))
    other = Layer(telemetry, recorder.settings, recorder.layer.page)
    for layer in (recorder.layer, other) * 2:
        application = TelemetryMiddleware(image(), lambda layer=layer: layer)
        call(application, path=AVATAR, query="s=80")
    assert recorder.value("ivatar_avatar_requests_total", size="80") == 2
    assert recorder.value("ivatar_avatar_requests_total", size="512") == 2


def answer(status, location=""):
    def application(environ, start_response):
        environ["wsgi.input"].read()
        headers = [("Content-Type", "text/html")]
        start_response(status, headers + ([("Location", location)] if location else []))
        return [b""]

    return application


@pytest.mark.parametrize(
    ("method", "path", "status", "location", "expected"),
    [
        pytest.param("POST", "/accounts/login/", "302 Found", "/accounts/profile/",
                     ("login", "true"), id="log-in"),
        pytest.param("POST", "/accounts/login/", "200 OK", "", ("login", "false"), id="refused"),
        pytest.param("GET", "/accounts/login/", "200 OK", "", None, id="form"),
        pytest.param("GET", "/accounts/logout/", "302 Found", "/", ("logout", "true"), id="out"),
        pytest.param("POST", "/accounts/new/", "302 Found", "/x", ("register", "true"), id="new"),
    ],
)  # fmt: skip
def test_authentication(recorder: Recorder, method, path, status, location, expected) -> None:
    """Attempts are told from looking at a form, and success from failure, by the answer alone."""
    call(recorder.wrap(answer(status, location)), path=path, method=method)
    attempts = recorder.labels("ivatar_auth_attempts_total")
    assert attempts == ([{"operation": expected[0], "success": expected[1]}] if expected else [])


def test_an_upload(recorder: Recorder) -> None:
    """An upload counts with the type and the size of its file."""
    part = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="x"\r\n'
    body = part + b"Content-Type: image/jpeg\r\n\r\n" + b"x" * 5000 + b"\r\n--b--\r\n"
    call(
        recorder.wrap(answer("302 Found", "/accounts/crop_photo/7")),
        path="/accounts/upload_photo/", method="POST", body=body,
        CONTENT_TYPE="multipart/form-data; boundary=b",
    )  # fmt: skip
    assert recorder.labels("ivatar_file_uploads_total") == [
        {"content_type": "image/jpeg", "success": "true"}
    ]
    assert recorder.value("ivatar_file_upload_size_bytes_sum", content_type="image/jpeg") == 5000


def test_a_form_without_a_file_is_no_upload(recorder: Recorder) -> None:
    """A form that the application read and that carried no file counts neither way."""
    part = b'--b\r\nContent-Disposition: form-data; name="not_porn"\r\n\r\non\r\n--b--\r\n'
    for status, location in (("200 OK", ""), ("302 Found", "/accounts/crop_photo/7")):
        call(
            recorder.wrap(answer(status, location)), path="/accounts/upload_photo/", method="POST",
            body=part, CONTENT_TYPE="multipart/form-data; boundary=b",
        )  # fmt: skip
    assert recorder.labels("ivatar_file_uploads_total") == []


FIELDS = {"export_file": b"data", "not_porn": b"on", "can_distribute": b"on"}


@pytest.mark.parametrize(
    ("changes", "success"),
    [
        pytest.param({}, "true", id="complete"),
        pytest.param({"not_porn": None}, "false", id="one tick"),
        pytest.param({"not_porn": None, "can_distribute": None}, "false", id="no tick"),
        pytest.param({"can_distribute": b""}, "false", id="an empty tick"),
        pytest.param({"export_file": b""}, "false", id="an empty file"),
    ],
)
def test_an_export_form_drawn_again(
    recorder: Recorder, changes: dict[str, bytes | None], success: str
) -> None:
    """The page to choose from and the form drawn again are both 200; the fields tell them apart."""

    def application(environ, start_response):
        environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"page"]

    parts = [
        b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
        % (name.encode(), b'; filename="x.gz"' if name == "export_file" else b"", value)
        for name, value in (FIELDS | changes).items()
        if value is not None
    ]
    call(
        recorder.wrap(application), path="/accounts/upload_export/", method="POST",
        body=b"".join(parts) + b"--b--\r\n", CONTENT_TYPE="multipart/form-data; boundary=b",
    )  # fmt: skip
    assert recorder.labels("ivatar_file_uploads_total") == [
        {"content_type": "other", "success": success}
    ]


def test_a_form_that_was_refused_unread_is_a_failed_upload(recorder: Recorder) -> None:
    """The content of a form is unknown where the application does not read it."""

    def refuse(environ, start_response):
        start_response("302 Found", [("Location", "/accounts/login/?next=/accounts/upload_photo/")])
        return [b""]

    call(
        recorder.wrap(refuse), path="/accounts/upload_photo/", method="POST", body=b"--b\r\n",
        CONTENT_TYPE="multipart/form-data; boundary=b",
    )  # fmt: skip
    assert recorder.labels("ivatar_file_uploads_total") == [
        {"content_type": "other", "success": "false"}
    ]


@pytest.mark.parametrize(
    ("path", "found", "labels"),
    [
        pytest.param("import_photo/", [], ("photo", "false"), id="no-call"),
        pytest.param("import_photo/5", [False], ("photo", "false"), id="no-picture"),
        pytest.param("import_photo/5", [False, True], ("photo", "true"), id="picture"),
        pytest.param("upload_export/save", [], ("export", "true"), id="export"),
    ],
)
def test_imports(recorder: Recorder, path: str, found: list[bool], labels: tuple[str, str]) -> None:
    """Imports count apart from uploads; one of a photo succeeds where a service returned one."""

    def application(environ, start_response):
        for each in found:
            CURRENT.get().outside_call("secure.gravatar.com", 0.1, success=True, found=each)
        start_response("302 Found", [("Location", "/accounts/profile/")])
        return [b""]

    call(recorder.wrap(application), path=f"/accounts/{path}", method="POST")
    operation, success = labels
    assert recorder.labels("ivatar_imports_total") == [{"operation": operation, "success": success}]
    assert recorder.labels("ivatar_file_uploads_total") == []
    assert recorder.value("ivatar_external_requests_total", service="gravatar") == len(found)
    assert recorder.value("ivatar_external_request_seconds_count") == len(found)
    assert recorder.labels("ivatar_external_avatar_requests_total") == []


@pytest.mark.parametrize(
    ("host", "service"),
    [("secure.gravatar.com", "gravatar"), ("CDN.bsky.app", "bluesky"), ("example.org", "other")],
)
def test_outside_calls(recorder: Recorder, host: str, service: str) -> None:
    """A call in a request for an avatar counts under the profile's name of the service, at once."""

    def tell(request):
        request.outside_call(host, 0.3, success=False)
        assert recorder.value("ivatar_external_avatar_requests_total", success="false") == 1

    call(recorder.wrap(image(tell=tell)), path=f"/avatar/{DIGEST}")
    assert recorder.labels("ivatar_external_avatar_requests_total")[0]["service"] == service
    assert recorder.value("ivatar_external_avatar_request_seconds_sum") == 0.3


def test_a_request_that_cannot_be_counted_is_not_in_progress(tmp_path) -> None:
    """A profile that raises costs the count of its request, and is counted itself."""

    def broken(query: str) -> int:
        raise ValueError("mine")

    recorder = Recorder(tmp_path, replace(IVATAR, size=broken))
    assert call(recorder.wrap(image()), path=AVATAR).status == "200 OK"
    assert recorder.value("ivatar_requests_in_progress") == 0
    assert recorder.value("ivatar_requests_total") == 0
    assert recorder.value("avatar_telemetry_internal_errors_total", where="finish") == 1
    recorder.book.detach()


def test_the_first_error_of_the_application_stands(recorder: Recorder) -> None:
    """Records after an error that the application handles itself have that error."""
    first, second = ValueError("cause"), KeyError("consequence")
    seen = []

    def tell(request) -> None:
        request.application_error(first)
        request.application_error(second)
        seen.append(request.error)

    call(recorder.wrap(image(tell=tell)))
    assert seen == [first]


def many(number: int):
    def tell(request) -> None:
        for _ in range(number):
            request.generated(GENERATOR)
            request.outside_call("gravatar.com", 0.1, success=True)
            request.image_step("open")

    return tell


def test_many_calls_of_one_request_keep_nothing_each(recorder: Recorder) -> None:
    """The memory of a request does not grow with its generators and outside calls."""
    sizes = {}

    def tell(request) -> None:
        many(2000)(request)
        values = {name: getattr(request, name, None) for name in type(request).__slots__}
        sizes.update({name: sys.getsizeof(value) for name, value in values.items()})

    call(recorder.wrap(image(tell=tell)), path=AVATAR)
    assert max(sizes.values()) < 1000
    assert recorder.value("ivatar_external_avatar_requests_total", service="gravatar") == 2000
    assert recorder.value("ivatar_avatars_generated_total", source="generated") == 1


def test_the_number_of_calls_is_no_part_of_an_outcome(recorder: Recorder) -> None:
    """However many calls a request made, its outcome is looked up under the same key."""
    for number in (1, 2, 30):
        call(recorder.wrap(image(tell=many(number))), path=AVATAR)
    assert len(recorder.telemetry.outcomes.known) == 1
    assert recorder.value("ivatar_avatars_generated_total", source="generated") == 3


def test_the_first_generator_is_the_one_of_the_span(traced: Recorder) -> None:
    """Where several drew, the attribute names the first."""

    def tell(request) -> None:
        request.generated(GENERATOR)
        request.generated("other:draw")

    call(traced.wrap(image(tell=tell)), path=AVATAR)
    assert traced.operation.attributes["ivatar.avatar_generator"] == GENERATOR


def test_an_attribute_after_the_end_reaches_no_span(
    traced: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Code that keeps a request, as a thread may, changes no span and causes no warning."""
    kept = []
    call(traced.wrap(image(tell=kept.append)), path=AVATAR)
    kept[0].set_attribute("late", 1)
    kept[0].resolved("/late", "late")
    assert kept[0].tracer is None
    assert not {"late", "ivatar.view"} & traced.server.attributes.keys()
    assert caplog.records == []


@pytest.mark.parametrize(("path", "route"), [("/known", "/known"), ("/unknown", "/pattern/{id}")])
def test_a_route_of_the_profile_stands_before_that_of_the_application(
    recorder: Recorder, path: str, route: str
) -> None:
    """The pattern that the application's router found names a path that no route matches."""
    routes = (Route(r"^/known\Z", "/known"),)
    recorder = recorder.using(routes=routes, application_routes=True)
    call(
        recorder.wrap(image(tell=lambda request: request.resolved("/pattern/{id}", "v"))), path=path
    )
    assert recorder.value("ivatar_requests_total", path=route) == 1
    recorder.book.detach()


def test_the_first_route_of_the_application_counts(traced: Recorder) -> None:
    """The route of a mounted application, found by a second router, changes nothing."""

    def tell(request) -> None:
        request.resolved("/outer", "outer")
        request.resolved("/inner", "inner")

    traced = traced.using(application_routes=True, routes=())
    call(traced.wrap(image(tell=tell)), path="/outer/inner")
    attributes = traced.server.attributes
    assert (attributes["http.route"], attributes["ivatar.view"]) == ("/outer", "outer")
    assert traced.value("ivatar_requests_total", path="/outer") == 1
    traced.book.detach()


@pytest.mark.parametrize(
    ("value", "announced"),
    [("12", 12), ("", None), ("-1", None), ("1.5", None), ("many", None), ("0x10", None)],
)
def test_a_length_that_is_no_number_is_none(recorder: Recorder, value, announced) -> None:
    """An application may send what it likes; the end is then the end of the body."""
    seen = []

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", value)])
        seen.append(CURRENT.get())
        return iter([b"123456789abc", b""])

    call(recorder.wrap(application))
    assert seen[0].announced == announced


def test_a_later_head_replaces_all_of_an_earlier_one(recorder: Recorder) -> None:
    """An error page in place of a response: what only the first head had is gone."""
    seen = []

    def application(environ, start_response):
        first = [("Content-Type", "image/png"), ("Content-Length", "1000"), ("Location", "/x")]
        start_response("302 Found", first)
        seen.append(CURRENT.get())
        start_response("500 Oh", [], (ValueError, ValueError(), None))
        return iter([b"1"])

    call(recorder.wrap(application))
    (request,) = seen
    assert (request.status, request.content_type, request.location) == ("500", "", "")
    assert (request.announced, request.unsent) == (None, 0)


class CountingLock:
    """A lock that counts how often it is taken."""

    def __init__(self, lock: Any) -> None:
        self.taken = 0
        self._lock = lock
        self.release = lock.release

    def acquire(self) -> Any:
        self.taken += 1
        return self._lock.acquire()

    def __enter__(self) -> Any:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


@pytest.mark.parametrize(
    ("path", "multithread", "taken"),
    [
        pytest.param("/", False, 0, id="one thread"),
        pytest.param("/", True, 2, id="many threads"),
        pytest.param(AVATAR, False, 1, id="cells of counts by hand"),
    ],
)
def test_the_lock_of_the_book(recorder: Recorder, path, multithread, taken) -> None:
    """It is taken where another thread may write into the same cells, and only there."""
    application = recorder.wrap(image(tell=miss if path == AVATAR else lambda request: None))
    environ = {"wsgi.multithread": multithread}
    call(application, path=path, **environ)  # makes the cells
    lock = recorder.book.lock = CountingLock(recorder.book.lock)  # type: ignore[assignment]
    call(application, path=path, **environ)
    assert lock.taken == taken
    assert recorder.value("ivatar_requests_total") == 2
