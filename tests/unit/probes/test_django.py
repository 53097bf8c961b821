"""The probe of Django's resolver, and what stands for a URL pattern."""

from __future__ import annotations

import re

import pytest
from django.core.handlers.wsgi import WSGIHandler
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.probes import django as probe
from avatar_telemetry.probes.django import route_template
from avatar_telemetry.probes.routing import MAX_TEMPLATE_LENGTH
from tests.support.django_setup import set_up
from tests.support.recorder import Recorder
from tests.support.wsgi_client import call

set_up()
probe.install()


@pytest.mark.parametrize(
    ("path", "status", "template"),
    [
        pytest.param("/shop/7/", "200", "/shop/{shop_id}/", id="path"),
        pytest.param("/shop/7/hat/", "200", "/shop/{shop_id}/{name}/", id="nested"),
        pytest.param("/picture/" + "a" * 32 + ".png", "200", "/picture/{digest}{any}", id="regex"),
        pytest.param("/x/anywhere/12/", "200", "/anywhere/{any}/", id="unanchored"),
        pytest.param("/fail/", "500", "/fail/", id="a view that fails"),
        pytest.param("/missing/", "404", "/missing/", id="a view that finds nothing"),
        pytest.param("/bob@example.com/", "404", "other", id="no pattern"),
    ],
)
def test_the_pattern_is_the_path(generic: Recorder, path: str, status: str, template: str) -> None:
    """With the generic profile, a request goes by the pattern that Django found for it."""
    call(generic.wrap(WSGIHandler()), path=path)
    assert generic.labels("ivatar_requests_total") == [
        {"method": "GET", "status_code": status, "path": template}
    ]


def test_a_profile_knows_better(recorder: Recorder) -> None:
    """Where a profile has routes of its own, what it does not know stays other."""
    call(recorder.wrap(WSGIHandler()), path="/shop/7/")
    assert recorder.value("ivatar_requests_total", path="other") == 1


def test_outside_of_a_request() -> None:
    """Django resolves as it does without a probe."""
    assert call(WSGIHandler(), path="/shop/7/").status == "200 OK"


@pytest.mark.parametrize(
    ("route", "template"),
    [
        pytest.param("", "/", id="home"),
        pytest.param("users/<int:id>/", "/users/{id}/", id="converter"),
        pytest.param("users/<name>", "/users/{name}", id="no converter"),
        pytest.param(r"^avatar/(?P<digest>\w{64})", "/avatar/{digest}", id="named group"),
        pytest.param(r"^a/(?P<x>(?:\d+|[)(]+)\))/$", "/a/{x}/", id="parentheses in a group"),
        pytest.param(r"^a/(\d+)-(\w*)\.html\Z", "/a/{any}-{any}.html", id="no names"),
        pytest.param(r"accounts/^reset/[0-9]+/?$", "/accounts/reset/{any}/", id="included"),
        pytest.param(r"a/[^]/]{1,3}/b", "/a/{any}/b", id="class"),
        pytest.param(r"a/.*", "/a/{any}", id="anything"),
        pytest.param(r"a/(?!x)(?=y)b", "/a/b", id="looks around"),
        pytest.param(r"a/(?:en|de)?/", "/a/{any}/", id="alternatives"),
        pytest.param(r"a/(b[c", "/a/{any}", id="no end"),
        pytest.param("robots.txt", "/robots.txt", id="plain"),
        pytest.param("x" * 999, "/" + "x" * (MAX_TEMPLATE_LENGTH - 1), id="long"),
    ],
)
def test_what_stands_for_a_pattern(route: str, template: str) -> None:
    """Names stay, expressions go."""
    assert route_template(route) == template


@given(st.text(alphabet=r"ab/<>:(?P)[]{}\w.*+^$|-,", max_size=60))
def test_any_pattern_has_a_template(route: str) -> None:
    """Whatever an application writes has a template, which begins with one slash."""
    template = route_template(route)
    assert re.match("/(?!/)", template)


@given(st.integers(1, 30))
def test_patterns_in_patterns(depth: int) -> None:
    """A group ends where its parenthesis does, however deep others are in it."""
    nested = "(" * depth + "x" + ")" * depth
    assert route_template(f"a/{nested}/b") == "/a/{any}/b"
