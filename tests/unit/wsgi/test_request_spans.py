"""Which spans a request leaves: names and attributes by route, outcome and semantic conventions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from avatar_telemetry.http.labels import METHODS
from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.http.semconv import REQUEST_NAMES, RESPONSE_NAMES
from avatar_telemetry.profiles.ivatar import IMPORTS, OPERATIONS
from avatar_telemetry.wsgi import request_spans
from avatar_telemetry.wsgi.endings import OPERATION_NAMES, SERVER_NAMES
from avatar_telemetry.wsgi.request import CURRENT, TRACE_ID_KEY
from tests.support.paths import DOCS
from tests.support.recorder import DIGEST, Recorder
from tests.support.wsgi_client import call, make_environ

HASH = Privacy("balanced", b"key").digest(DIGEST)
EMAIL = "somebody@mail.test"
EMAIL_HASH = Privacy("balanced", b"key").digest(EMAIL)
BOUNDARY = "limit"
UPLOAD = (
    f"--{BOUNDARY}\r\n"
    'Content-Disposition: form-data; name="photo"; filename="somebody.at.home.PNG"\r\n'
    "Content-Type: image/png\r\n\r\n"
    f"12345\r\n--{BOUNDARY}--\r\n"
).encode()
CACHE = "django:filesystem"


def told(request: Any) -> None:
    """The report of the probes for most requests: nothing."""


def generated(request: Any) -> None:
    request.cache_lookup(CACHE, hit=False)
    request.generated("pagan:Avatar")


def cached(request: Any) -> None:
    request.cache_lookup(CACHE, hit=True)


def fetched(request: Any) -> None:
    request.outside_call("secure.gravatar.com", 0.1, success=True)


def not_found(request: Any) -> None:
    request.outside_call("secure.gravatar.com", 0.1, success=True, found=False)


def uploaded(request: Any) -> None:
    request.cache_lookup(CACHE, hit=False)


@dataclass
class Case:
    """One kind of request, and what is told of it beside what is told of all."""

    path: str
    template: str
    kind: str
    operation: str = ""
    method: str = "GET"
    status: str = "200 OK"
    type: str = "text/html"
    location: str = ""
    body: bytes = b""
    query: str = ""
    tell: Any = told
    raises: bool = False
    server: dict[str, Any] = field(default_factory=dict)
    inside: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        place = self.template if self.template[:1] == "/" else f"/{{{self.template}}}"
        return place + (f"?{self.query}" if self.query else "")

    @property
    def failed(self) -> bool:
        return self.raises or self.status[:1] == "5"

    @property
    def error(self) -> dict[str, Any]:
        if self.raises:
            return {"error.type": "ValueError"}
        return {"error.type": self.status[:3]} if self.failed else {}

    @property
    def code(self) -> int:
        return 500 if self.raises else int(self.status[:3])


def avatar(operation: str, **options: Any) -> Case:
    about = {"ivatar.avatar_size": 80, "ivatar.avatar_digest": HASH, **options.pop("about", {})}
    inside = {**about, **options.pop("inside", {})}
    return Case(
        **{"path": f"/avatar/{DIGEST}", "template": "/avatar/{digest}", "kind": "avatar",
           "operation": operation, "server": about, "inside": inside, **options}
    )  # fmt: skip


def proxy(service: str, **options: Any) -> Case:
    return avatar(
        f"avatar.{service}_proxy", path=f"/{service}proxy/{DIGEST}",
        template=f"/{service}proxy/{{digest}}", **options,
    )  # fmt: skip


def auth(operation: str, path: str, word: str, **options: Any) -> Case:
    inside = {"ivatar.operation": word, **options.pop("inside", {})}
    template = options.pop("template", path)
    return Case(path, template, "auth", operation, inside=inside, **options)


def upload(operation: str, path: str = "/accounts/upload_photo/", **options: Any) -> Case:
    return Case(
        **{"path": path, "template": path, "kind": "upload", "operation": operation, **options}
    )


def imports(operation: str, path: str, label: str, **options: Any) -> Case:
    inside = {"ivatar.operation": label, **options.pop("inside", {})}
    template = options.pop("template", path)
    return Case(path, template, "import", operation, inside=inside, **options)


PNG = {"ivatar.avatar_format": "png"}
GENERATED = {"ivatar.avatar_cache": "miss", "ivatar.avatar_source": "generated",
             "ivatar.avatar_generator": "pagan:Avatar"}  # fmt: skip
FILE = {"file.name": ".png", "file.size": 5, "file.content_type": "image/png"}
POST = {"method": "POST", "status": "302 Found"}
CASES = {
    "generated": avatar("avatar.generate_png", type="image/png", tell=generated, about=PNG,
                        inside=GENERATED),
    "generated as jpeg, of a size": avatar(
        "avatar.generate_jpg", type="image/jpeg", tell=generated, query="s=128",
        about={"ivatar.avatar_format": "jpg", "ivatar.avatar_size": 128}, inside=GENERATED),
    "uploaded": avatar("avatar.generate_png", type="image/png", tell=uploaded, about=PNG,
                       inside={"ivatar.avatar_cache": "miss", "ivatar.avatar_source": "uploaded"}),
    "served, nobody knows from where": avatar("avatar.serve_png", type="image/png", about=PNG),
    "cached": avatar("avatar.cache_hit", type="image/png", tell=cached, about=PNG,
                     inside={"ivatar.avatar_cache": "hit"}),
    "redirect": avatar("avatar.redirect", status="302 Found", location="/static/nobody.png",
                       about={"ivatar.avatar_format": "none"}),
    "no such avatar": avatar("avatar.not_found", status="404 Not Found",
                             about={"ivatar.avatar_format": "none"}),
    "not modified": avatar("avatar.not_modified", status="304 Not Modified",
                           about={"ivatar.avatar_format": "none"}),
    "refused": avatar("avatar.refuse", status="400 Bad Request",
                      about={"ivatar.avatar_format": "none"}),
    "avatar fails": avatar("avatar.refuse", status="503 Busy",
                           about={"ivatar.avatar_format": "none"}),
    "avatar raises": avatar("avatar.refuse", raises=True, about={"ivatar.avatar_format": "none"}),
    "no digest": Case("/avatar/x", "/avatar/{invalid}", "avatar", "avatar.not_found",
                      status="404 Not Found",
                      server={"ivatar.avatar_size": 80, "ivatar.avatar_format": "none"},
                      inside={"ivatar.avatar_size": 80, "ivatar.avatar_format": "none"}),
    "gravatar": proxy("gravatar", type="image/png", about=PNG,
                      inside={"ivatar.avatar_source": "external"}),
    "gravatar has none": proxy("gravatar", status="302 Found",
                               about={"ivatar.avatar_format": "none"}),
    "bluesky": proxy("bluesky", type="image/png", about=PNG,
                     inside={"ivatar.avatar_source": "external"}),
    "log in": auth("auth.login", "/accounts/login/", "login", location="/", **POST,
                   inside={"ivatar.success": True}),
    "log in, wrong": auth("auth.login", "/accounts/login/", "login", method="POST",
                          inside={"ivatar.success": False}),
    "form of the log-in": auth("auth.form", "/accounts/login/", "login"),
    "form by HEAD": auth("auth.form", "/accounts/login/", "login", method="HEAD"),
    "log out": auth("auth.logout", "/accounts/logout/", "logout", status="302 Found",
                    inside={"ivatar.success": True}),
    "register": auth("auth.register", "/accounts/new/", "register", location="/", **POST,
                     inside={"ivatar.success": True}),
    "openid begins": auth("auth.openid", "/openid/login/", "openid", location="https://x.test/",
                          **POST),
    "password reset": auth(
        "auth.password_reset_confirm", "/accounts/reset/dWlk/tok-en/", "password_reset_confirm",
        template="/accounts/reset/{uid}/{token}/", location="/accounts/reset/done/", **POST,
        inside={"ivatar.success": True}),
    "log in raises": auth("auth.login", "/accounts/login/", "login", method="POST", raises=True,
                          inside={"ivatar.success": False}),
    "upload": upload("file_upload.process", body=UPLOAD, location="/accounts/crop_photo/1",
                     **POST, inside={"ivatar.success": True, **FILE}),
    "upload refused": upload("file_upload.process", body=UPLOAD, location="/accounts/profile/",
                             **POST, inside={"ivatar.success": False, **FILE}),
    "upload without a file": upload("file_upload.process", method="POST"),
    "form of the upload": upload("file_upload.form"),
    "import": imports(
        "import.photo", f"/accounts/import_photo/{EMAIL}", "photo",
        template="/accounts/import_photo/{email}", location="/", **POST, tell=fetched,
        server={"ivatar.avatar_email": EMAIL_HASH},
        inside={"ivatar.avatar_email": EMAIL_HASH, "ivatar.success": True}),
    "import without a picture": imports(
        "import.photo", "/accounts/import_photo/", "photo", location="/", **POST, tell=not_found,
        inside={"ivatar.success": False}),
    "form of the import": imports("import.form", "/accounts/import_photo/", "photo"),
    "avatar by OPTIONS": Case(
        f"/avatar/{DIGEST}", "/avatar/{digest}", "avatar", method="OPTIONS",
        server={"ivatar.avatar_size": 80, "ivatar.avatar_digest": HASH,
                "ivatar.avatar_format": "none"}),
    "page": Case("/contact/", "/contact/", "page"),
    "page raises": Case("/contact/", "/contact/", "page", raises=True),
    "stats": Case("/stats/", "/stats/", "stats"),
    "static": Case("/static/x.css", "/static/{file}", "static", type="text/css"),
    "unknown": Case("/somebody", "other", "other", status="404 Not Found"),
}  # fmt: skip


def old(case: Case) -> dict[str, Any]:
    return {
        "http.method": case.method,
        "http.url": f"http://127.0.0.1{case.target}",
        "http.target": case.target,
        "http.scheme": "http",
        "http.flavor": "1.0",
        "http.user_agent": "Test/1",
        "http.remote_addr": "192.0.2.0",
        "net.host.name": "127.0.0.1",
        "net.host.port": 80,
        "http.request_content_length": len(case.body),
        "http.status_code": case.code,
        "http.response_content_length": sent(case),
    }


def stable(case: Case) -> dict[str, Any]:
    return {
        "http.request.method": case.method,
        "url.scheme": "http",
        "url.path": case.target.partition("?")[0],
        "url.query": case.query or None,
        "server.address": "127.0.0.1",
        "server.port": 80,
        "client.address": "192.0.2.0",
        "network.peer.address": "192.0.2.0",
        "network.protocol.version": "1.0",
        "user_agent.original": "Test/1",
        "http.request.body.size": len(case.body),
        "http.response.status_code": case.code,
        "http.response.body.size": sent(case),
    }


def sent(case: Case) -> int | None:
    if case.method == "HEAD":
        return None
    return 0 if case.raises else len(b"answer")


MODES = {
    "": old,
    "http": stable,
    "http/dup": lambda case: {**old(case), **stable(case)},
}


def serve(traced: Recorder, case: Case, **more: Any) -> Any:
    def application(environ: Any, start_response: Any) -> Any:
        case.tell(CURRENT.get())
        environ["wsgi.input"].read()
        if case.raises:
            raise ValueError("mine")
        headers = [("Content-Type", case.type)]
        headers += [("Location", case.location)] if case.location else []
        start_response(case.status, headers)
        return [b"answer"]

    more = {"HTTP_USER_AGENT": "Test/1", **more}
    if case.body:
        more["CONTENT_TYPE"] = f"multipart/form-data; boundary={BOUNDARY}"
    environ = make_environ(case.path, case.method, case.query, case.body, **more)
    if case.raises:
        with pytest.raises(ValueError, match="mine"):
            call(traced.wrap(application), environ)
    else:
        call(traced.wrap(application), environ)
    return environ


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_spans_of(traced: Recorder, case: Case, mode: str) -> None:
    """The whole of what both spans tell, nothing else."""
    traced = traced.set(OTEL_SEMCONV_STABILITY_OPT_IN=mode)
    serve(traced, case)
    server = traced.server
    route = case.template if case.template[:1] == "/" else ""
    assert server.name == f"{case.method} {route}".strip()
    expected = {"ivatar.request_type": case.kind, **case.server, **case.error}
    http = {**MODES[mode](case), "http.route": route or None}
    assert dict(server.attributes) == {
        **expected, **{key: value for key, value in http.items() if value is not None}
    }  # fmt: skip
    status = StatusCode.ERROR if case.failed else StatusCode.UNSET
    assert server.status.status_code is status
    assert [event.name for event in server.events] == ["exception"] * case.raises
    if case.operation:
        assert traced.operation.name == case.operation
        inside = {"ivatar.request_type": case.kind, **case.inside, **case.error}
        assert dict(traced.operation.attributes) == inside
        assert traced.operation.status.status_code is status
        assert traced.operation.start_time >= server.start_time
        assert traced.operation.end_time <= server.end_time
    else:
        assert traced.spans == [server]
    traced.book.detach()


@pytest.mark.parametrize(
    ("privacy", "digest", "email", "file", "address"),
    [
        pytest.param("off", DIGEST, EMAIL, "somebody.at.home.PNG", "192.0.2.1", id="off"),
        pytest.param("balanced", HASH, EMAIL_HASH, ".png", "192.0.2.0", id="balanced"),
        pytest.param("strict", None, None, None, None, id="strict"),
    ],
)
def test_what_the_privacy_mode_tells(
    traced: Recorder, privacy: str, digest: Any, email: Any, file: Any, address: Any
) -> None:
    """Digest, address of a mail, file name and client: as they came, abridged, or not at all."""
    traced = traced.set(AVATAR_TELEMETRY_PRIVACY=privacy)
    for name in ("generated", "import", "upload"):
        serve(traced, CASES[name])
    spans = traced.spans
    assert {span.attributes.get("ivatar.avatar_digest") for span in spans[:2]} == {digest}
    assert {span.attributes.get("ivatar.avatar_email") for span in spans[2:4]} == {email}
    assert spans[4].attributes.get("file.name") == file
    assert {span.attributes.get("http.remote_addr") for span in spans[1::2]} == {address}
    traced.book.detach()


def test_everybody_has_a_hash_of_their_own(
    traced: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are asked for, and in whatever order: what is remembered of one is never told
    of another."""
    monkeypatch.setattr(request_spans, "MAX_BLOCKS", 4)
    privacy = Privacy("balanced", b"key")
    digests = [f"{number:032x}" for number in (1, 2, 1, 3, 4, 5, 6, 2, 1)]
    for digest in digests:
        case = Case(f"/avatar/{digest}", "/avatar/{digest}", "avatar", type="image/png")
        serve(traced, case)
    told = [span.attributes["ivatar.avatar_digest"] for span in traced.spans[1::2]]
    assert told == [privacy.digest(digest) for digest in digests]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.operation])
def test_what_access_logs_show(traced: Recorder, name: str) -> None:
    """The environ tells an access log the trace, and what became of the request."""
    environ = serve(traced, CASES[name])
    assert environ[TRACE_ID_KEY] == f"{traced.server.trace_id:032x}"
    assert str(environ["avatar_telemetry.request"]) == CASES[name].operation


def test_access_logs_without_spans(recorder: Recorder) -> None:
    """Where spans are not recorded, there is no trace to show; what became of a request is."""
    environ = serve(recorder, CASES["generated"])
    assert TRACE_ID_KEY not in environ
    assert str(environ["avatar_telemetry.request"]) == "avatar.generate_png"


def test_every_operation_name_is_documented(recorder: Recorder) -> None:
    """No route, method, status, content type or cache result makes a name outside of the page."""
    page = (DOCS / "traces.md").read_text()
    images = {
        "png",
        *re.findall(r"\w+", page.partition("`avatar.generate_png` (")[2].split(")")[0]),
    }
    documented = set(re.findall(r"`((?:avatar|file_upload|import|auth)\.\w+)`", page))
    for name in [name for name in documented if name.endswith("_png")]:
        documented |= {name.replace("_png", f"_{image}") for image in images}
    statuses = ("200 OK", "204 No Content", "302 Found", "304 Not Modified", "404 No", "500 Oops")
    types = ("text/html", "", "image/png", "image/jpeg", "image/svg+xml", "image/None")
    reports = (told, generated, cached, uploaded)
    paths = {case.path: case.kind for case in CASES.values() if case.operation}
    paths[f"/avatar/{DIGEST}.png"] = "avatar"
    for path, kind in paths.items():
        varied = (types, reports) if kind == "avatar" else (types[:1], reports[:1])
        for method, status, content_type, report in product(METHODS, statuses, *varied):
            if kind == "avatar" and method not in ("GET", "HEAD", "OPTIONS"):
                continue
            case = Case(path, "", "", method=method, status=status, type=content_type, tell=report)
            name = str(serve(recorder, case)["avatar_telemetry.request"])
            assert name in documented or name.startswith((f"{method} ", "HTTP ")), (case, name)


def test_the_page_names_everything() -> None:
    """docs/traces.md names each span and attribute that a request can have."""
    page = (DOCS / "traces.md").read_text()
    semconv = {*REQUEST_NAMES["both"], *RESPONSE_NAMES["both"]}
    attributes = semconv | {*SERVER_NAMES, *OPERATION_NAMES}
    operations = {case.operation for case in CASES.values()} - {"", "avatar.generate_jpg"}
    operations |= {f"auth.{operation}" for operation in OPERATIONS}
    operations |= {f"import.{operation}" for operation in IMPORTS}
    assert [name for name in sorted(attributes | operations) if f"`{name}`" not in page] == []
