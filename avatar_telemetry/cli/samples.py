"""The samples of a metrics page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from math import isfinite
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from avatar_telemetry.cli.web import Response, Site

Labels = frozenset[tuple[str, str]]
BUILD_INFO = "avatar_telemetry_build_info"


class Samples:
    """The samples of one page.

    Args:
        values: the values by name and labels.
    """

    def __init__(self, values: Mapping[str, Mapping[Labels, float]]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """Return whether there is a series with this name."""
        return bool(self._values.get(name))

    def series(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Yield the labels and the value of each series with a name."""
        for labels, value in self._values.get(name, {}).items():
            yield dict(labels), value

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the series with these labels."""
        wanted = labels.items()
        return sum(value for have, value in self._values.get(name, {}).items() if wanted <= have)

    def errors(self) -> float:
        """Return the number of requests with a 5xx status."""
        name = "ivatar_requests_total"
        codes = (code for code in self.values(name, "status_code") if code[:1] == "5")
        return sum(self.total(name, status_code=code) for code in codes)

    def split(self, label: str) -> dict[str, Samples]:
        """Return the samples that have a label, by its values."""
        parts: defaultdict[str, defaultdict[str, dict[Labels, float]]]
        parts = defaultdict(lambda: defaultdict(dict))
        for name, series in self._values.items():
            for labels, value in series.items():
                for text in (text for key, text in labels if key == label):
                    parts[text][name][labels] = value
        return {text: Samples(part) for text, part in parts.items()}

    def values(self, name: str, label: str) -> list[str]:
        """Return the values of a label, sorted."""
        return sorted({labels.get(label, "") for labels, _ in self.series(name)} - {""})

    def label(self, name: str, label: str) -> str:
        """Return the value of a label of the only series of a metric, else an empty text."""
        return next(iter(self.values(name, label)), "")

    def minus(self, before: Samples) -> Samples:
        """Return the increase since an earlier page; a counter that was reset counts from zero."""
        return Samples({
            name: {labels: _increase(value, before._values.get(name, {}).get(labels, 0.0))
                   for labels, value in series.items()}
            for name, series in self._values.items()
        })  # fmt: skip


def _increase(now: float, before: float) -> float:
    return now - before if now >= before else now


EMPTY = Samples({})


def read_samples(page: str) -> Samples | None:
    """Parse the finite values of a page in the text format 0.0.4; return ``None`` for any other
    text."""
    values: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    try:
        for family in text_string_to_metric_families(page):
            for sample in filter(lambda each: isfinite(each.value), family.samples):
                values[sample.name][frozenset(sample.labels.items())] = sample.value
    except (ValueError, KeyError, IndexError):
        return None
    return Samples(values)


def fetch(
    url: str, token: str, *, path: str = "/metrics", timeout: float | None = None
) -> tuple[str, Response, Samples | None]:
    """Request the metrics page of a server.

    Args:
        url: the URL of the server, or of its page.
        token: the token of the page, or an empty text.
        path: the path of the page, for a URL without one.
        timeout: the seconds for each step, ``None`` for the default.

    Returns:
        The URL of the page, the response, and the samples, or ``None`` in place of samples of
        another package.

    Raises:
        WebError: the server did not respond.
    """
    if not urlsplit(url).path.strip("/"):
        url = url.rstrip("/") + path
    headers = {"Accept": "text/plain", **({"Authorization": f"Bearer {token}"} if token else {})}
    response = Site(url, timeout).get("", headers)
    samples = read_samples(response.text) if response.status == 200 else None
    return url, response, samples if samples is not None and samples.has(BUILD_INFO) else None
