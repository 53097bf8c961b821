"""The page: both text formats, who gets which, and who gets none."""

from __future__ import annotations

import gzip
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.exposition import OPENMETRICS, TEXT, Access, MetricsPage, render
from avatar_telemetry.metrics.family import Exemplar, Family, family
from tests.support.recorder import Recorder
from tests.support.wsgi_client import call, make_environ

FAMILIES = [
    family("requests", "counter", 'back\\slash "quoted"\nline', [((("path", '/a"\\\n'),), 3.0)]),
    family("load", "gauge", "", [((), float("inf")), ((("x", "ü"),), -1.5e-9)]),
    family("low", "gauge", "", [((), float("-inf"))]),
    family("target", "info", "who", [((("service_name", "ivatar"),), 1.0)]),
]
TOKEN = "sesame-open"


def samples(families):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for each in families
        for sample in each.samples
    }


@pytest.mark.parametrize(
    ("openmetrics", "parse"),
    [
        pytest.param(False, parse_text, id="0.0.4"),
        pytest.param(True, parse_openmetrics, id="OpenMetrics"),
    ],
)
def test_the_page_parses_to_what_it_was_made_of(openmetrics: bool, parse) -> None:
    """Names, label values and numbers survive both formats."""
    parsed = samples(parse(render(FAMILIES, openmetrics=openmetrics).decode()))
    assert parsed["requests_total", (("path", '/a"\\\n'),)] == 3.0
    assert parsed["load", ()] == float("inf")
    assert parsed["low", ()] == float("-inf")
    assert parsed["load", (("x", "ü"),)] == -1.5e-9
    assert parsed["target_info", (("service_name", "ivatar"),)] == 1.0


TRACED = Exemplar((("span_id", "5" * 16), ("trace_id", "7" * 32)), 0.25, 1234.5678)
ODD = Exemplar((("user", "q ü"),), float("inf"), None)
BUCKETS = [("s_bucket", (("le", bound),), 1.0) for bound in ("0.5", "+Inf")]
WITH_EXEMPLARS = [
    Family.of("s", "histogram", "", [*BUCKETS, ("s_count", (), 1.0), ("s_sum", (), 0.25)],
              {0: TRACED, 1: ODD}),
    Family.of("c", "counter", "", [("c_total", (), 1.0)], {0: Exemplar((), 2.0, 3.0)}),
]  # fmt: skip


def test_exemplars_in_openmetrics() -> None:
    """An exemplar is on the line of its sample, and a parser reads its labels, value and time."""
    text = render(WITH_EXEMPLARS, openmetrics=True).decode()
    found = {
        (sample.name, sample.labels.get("le")): sample.exemplar
        for each in parse_openmetrics(text)
        for sample in each.samples
        if sample.exemplar
    }
    assert {key: (each.labels, each.value) for key, each in found.items()} == {
        ("s_bucket", "0.5"): (dict(TRACED.labels), 0.25),
        ("s_bucket", "+Inf"): (dict(ODD.labels), float("inf")),
        ("c_total", None): ({}, 2.0),
    }
    assert float(found["s_bucket", "0.5"].timestamp) == 1234.568
    assert found["s_bucket", "+Inf"].timestamp is None


def test_labels_of_an_exemplar_are_escaped() -> None:
    """As those of a sample; prometheus_client's parser cannot read some of them back."""
    exemplar = Exemplar((("user", 'q"\\\n'),), 1.0, None)
    text = render([Family.of("c", "counter", "", [("c_total", (), 1.0)], {0: exemplar})],
                  openmetrics=True)  # fmt: skip
    assert text.splitlines()[-2] == rb'c_total 1.0 # {user="q\"\\\n"} 1.0'


def test_no_exemplars_in_the_format_0_0_4() -> None:
    """The older format has no exemplars: its parsers refuse the line."""
    text = render(WITH_EXEMPLARS, openmetrics=False).decode()
    assert text.count("#") == 2 * len(WITH_EXEMPLARS)
    assert len(samples(parse_text(text))) == 5


@given(st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=5))
def test_any_label_value_survives(values: dict[str, float]) -> None:
    """Whatever stands in a label of the application, the page can be read."""
    made: Family = family(
        "g", "gauge", "h", [((("v", key),), value) for key, value in values.items()]
    )
    text = render([made], openmetrics=True).decode("utf-8", "surrogatepass")
    parsed = samples(parse_openmetrics(text))
    assert parsed == {("g", (("v", key),)): value for key, value in values.items()}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        pytest.param(None, TEXT, id="nothing"),
        pytest.param("*/*", TEXT, id="anything"),
        pytest.param("application/openmetrics-text", OPENMETRICS, id="OpenMetrics"),
        pytest.param(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2", OPENMETRICS, id="Prometheus 3",
        ),
        pytest.param("text/plain,application/openmetrics-text;q=0.5", TEXT, id="text preferred"),
        pytest.param("application/openmetrics-text;version=0.0.1", TEXT, id="too old"),
        pytest.param("application/openmetrics-text;q=0", TEXT, id="refused"),
        pytest.param(";;;q=x,,", TEXT, id="nonsense"),
    ],
)  # fmt: skip
def test_the_format_follows_accept(accept: str | None, content_type: str) -> None:
    """A scraper gets the best format that it names; everybody else plain text."""
    page = MetricsPage(lambda: FAMILIES, Guard())
    exchange = call(page, **({"HTTP_ACCEPT": accept} if accept else {}))
    assert exchange.header("Content-Type") == content_type
    assert exchange.content.endswith(b"# EOF\n") == (content_type == OPENMETRICS)


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip;q=0", False),
        (";;", False),
        ("gzip;q=2", False),
        ("br", False),
        (None, False),
    ],
)
def test_gzip_only_for_who_asks(accepted: str | None, zipped: bool) -> None:
    """The page is compressed where the scraper says that it can read that."""
    environ = {"HTTP_ACCEPT_ENCODING": accepted} if accepted else {}
    exchange = call(MetricsPage(lambda: FAMILIES, Guard()), **environ)
    assert (exchange.header("Content-Encoding") == "gzip") == zipped
    body = gzip.decompress(exchange.content) if zipped else exchange.content
    assert body == render(FAMILIES, openmetrics=False)
    assert exchange.header("Content-Length") == str(len(exchange.content))


def test_head_has_the_headers_alone() -> None:
    """HEAD gives the length of the page and no page."""
    exchange = call(MetricsPage(lambda: FAMILIES, Guard()), method="HEAD")
    assert exchange.content == b""
    assert int(exchange.header("Content-Length") or 0) > 0


def test_a_page_that_cannot_be_made_is_503(caplog: pytest.LogCaptureFixture) -> None:
    """A failure in a scrape costs that scrape only."""

    def broken():
        raise OSError("no folder")

    with caplog.at_level(logging.ERROR):
        exchange = call(MetricsPage(broken, Guard()))
    assert exchange.status.startswith("503")
    assert "no folder" in caplog.text


@pytest.mark.parametrize(
    ("environ", "permitted"),
    [
        pytest.param({"REMOTE_ADDR": "127.0.0.1"}, True, id="loopback"),
        pytest.param({"REMOTE_ADDR": "127.8.9.1"}, True, id="all of loopback"),
        pytest.param({"REMOTE_ADDR": "::1"}, True, id="IPv6 loopback"),
        pytest.param({"REMOTE_ADDR": "::ffff:127.0.0.1"}, True, id="mapped"),
        pytest.param({"REMOTE_ADDR": ""}, True, id="unix socket"),
        pytest.param({"REMOTE_ADDR": "192.0.2.1"}, False, id="elsewhere"),
        pytest.param({"REMOTE_ADDR": "::ffff:192.0.2.1"}, False, id="mapped, elsewhere"),
        pytest.param({"REMOTE_ADDR": "fe80::1%eth0"}, False, id="with a zone"),
        pytest.param({"REMOTE_ADDR": "nonsense"}, False, id="nonsense"),
        pytest.param({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}, False,
                     id="forwarded"),
        pytest.param({"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": ""}, False, id="empty header"),
        pytest.param({"REMOTE_ADDR": "127.0.0.1", "HTTP_VIA": "1.1 x"}, False, id="via"),
        pytest.param({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_PROTOCOL": "ssl"}, False,
                     id="scheme alone"),
        pytest.param({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_ORIGINAL_URL": "/"}, False,
                     id="original"),
        pytest.param({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_CLUSTER_CLIENT_IP": ""}, False,
                     id="cluster"),
        pytest.param({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS": "10"},
                     True, id="a scraper's own header"),
        pytest.param({"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}, True, id="token"),
        pytest.param({"HTTP_AUTHORIZATION": f"bearer  {TOKEN} "}, True, id="token, spaced"),
        pytest.param({"HTTP_AUTHORIZATION": f"Bearer {TOKEN}", "HTTP_VIA": "x"}, True,
                     id="token, forwarded"),
        pytest.param({"HTTP_AUTHORIZATION": "Bearer wrong"}, False, id="wrong token"),
        pytest.param({"HTTP_AUTHORIZATION": f"Basic {TOKEN}"}, False, id="other scheme"),
        pytest.param({"HTTP_AUTHORIZATION": "Bearer"}, False, id="no token"),
        pytest.param({"HTTP_AUTHORIZATION": "Bearer \xff\xfe"}, False, id="bytes"),
    ],
)  # fmt: skip
def test_who_may_read(environ: dict[str, str], permitted: bool) -> None:
    """An allowed network without a forwarding header, or the token."""
    settings = Settings.from_env({"AVATAR_TELEMETRY_METRICS_TOKEN": TOKEN})
    access = Access(settings.metrics_allow, settings.metrics_token)
    assert access.permits(make_environ(**environ)) is permitted


def test_an_unset_token_opens_nothing() -> None:
    """An empty token in a request is not equal to no token in the settings."""
    settings = Settings.from_env({"AVATAR_TELEMETRY_METRICS_ALLOW": ""})
    access = Access(settings.metrics_allow, settings.metrics_token)
    assert not access.permits(make_environ(REMOTE_ADDR="127.0.0.1", HTTP_AUTHORIZATION="Bearer "))


def application(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"the application's own"]


@pytest.mark.parametrize(
    ("environ", "ours"),
    [
        pytest.param({"path": "/metrics", "REMOTE_ADDR": "127.0.0.1"}, True, id="GET"),
        pytest.param({"path": "/metrics", "REMOTE_ADDR": "127.0.0.1", "method": "POST"}, False,
                     id="POST"),
        pytest.param({"path": "/metrics/", "REMOTE_ADDR": "127.0.0.1"}, False, id="other path"),
        pytest.param({"path": "/metrics", "REMOTE_ADDR": "192.0.2.1"}, False, id="refused"),
    ],
)  # fmt: skip
def test_the_path_of_the_metrics(recorder: Recorder, environ: dict[str, str], ours: bool) -> None:
    """A scrape is not the application's request; a refused one is, untouched."""
    exchange = call(recorder.wrap(application), **environ)
    assert exchange.status.startswith("200" if ours else "404")
    assert recorder.value("ivatar_requests_total") == (0 if ours else 1)
