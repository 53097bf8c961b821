"""The names of other packages on the page of migrating are those that they have."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from tests.support.paths import DOCS
from tests.support.requirements import unavailable

# Counts that nobody looks at by themselves.
LEFT_OUT = "unknown|get_fail|execute_many|responses_before_middlewares|by_transport"
PAGE = (DOCS / "migrating.md").read_text(encoding="utf-8")


def source_of(package: str) -> str:
    """All code of a package."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py")))


def test_names_of_django_prometheus() -> None:
    """Each of its metrics has a row, and each row is of one of its metrics."""
    if find_spec("django_prometheus") is None:
        unavailable("django-prometheus is not installed")
    source = source_of("django_prometheus")
    made = set(re.findall(r'"(django_(?:http|cache|db|model|migrations)_\w+)"', source))
    named = set(re.findall(r"`(django_(?:http|cache|db|model|migrations)_\w+)`", PAGE))
    assert named <= made
    unmapped = {name for name in made - named if not re.search(LEFT_OUT, name)}
    assert unmapped == set()


def test_names_of_opentelemetry_wsgi() -> None:
    """Its metrics have the names that the page says."""
    from opentelemetry.semconv._incubating.metrics import http_metrics
    from opentelemetry.semconv.metrics import MetricInstruments

    assert f"`{MetricInstruments.HTTP_SERVER_DURATION}`" in PAGE
    assert f"`{MetricInstruments.HTTP_SERVER_ACTIVE_REQUESTS}`" in PAGE
    assert f"`{http_metrics.HTTP_SERVER_ACTIVE_REQUESTS}`" in PAGE
    assert "excluded" not in source_of("opentelemetry.instrumentation.wsgi").lower()
