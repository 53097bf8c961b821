"""The rules under ``deploy/prometheus``, and Prometheus' own tool that judges them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.build_servers import promtool as built_promtool
from tests.support.paths import REPOSITORY
from tests.support.requirements import unavailable
from tests.support.waiting import DEADLINE

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
IDENTITY = 'job="ivatar",environment="production"'
MINUTES = 120
"""The length of the series of a test, with a sample each minute."""


def groups() -> Iterator[dict[str, Any]]:
    """Every group of every file."""
    for path in RULE_FILES:
        yield from yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]


def rules() -> Iterator[dict[str, Any]]:
    """Every rule of every group."""
    for group in groups():
        yield from group["rules"]


def evaluation_order() -> list[str]:
    """Names of groups, recorded series first: promtool has no order of its own."""
    return [
        group["name"] for group in sorted(groups(), key=lambda group: "alert" in group["rules"][0])
    ]


def promtool(*arguments: str, cwd: Path = REPOSITORY, stdin: str = "") -> tuple[int, str]:
    """Run it; status and output."""
    binary = built_promtool()
    if not binary.exists():
        unavailable("promtool is not built; see tests/support/build_servers.py")
    command = [str(binary), *arguments]
    done = subprocess.run(
        command, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=DEADLINE
    )
    return done.returncode, done.stdout + done.stderr


def series(metric: str, values: str, /, **labels: str) -> dict[str, str]:
    """One series of the test service, in promtool's notation."""
    own = "".join(f',{name}="{value}"' for name, value in labels.items())
    return {f"{metric}{{{IDENTITY}{own}}}": values}


def counter(metric: str, a_minute: float, /, **labels: str) -> dict[str, str]:
    """A counter that goes up steadily, from where ``rate`` does not think that it was just born."""
    return series(metric, f"1000000+{a_minute}x{MINUTES}", **labels)


def phased(*phases: tuple[int, float]) -> str:
    """The values of a counter that goes up at one pace after the other.

    Args:
        phases: how many samples, and by how much it goes up with each.
    """
    value, words = 1_000_000.0, []
    for samples, increase in phases:
        words.append(f"{value:.3f}+{increase}x{samples - 1}")
        value += increase * samples
    return " ".join(words)


def gauge(metric: str, value: float, /, **labels: str) -> dict[str, str]:
    """A gauge that stands still."""
    return series(metric, f"{value}x{MINUTES}", **labels)


BOUNDS = ("0.25", "0.5", "1.0", "2.5", "5.0", "+Inf")


def histogram(metric: str, a_minute: float, below: str, /, **labels: str) -> dict[str, str]:
    """A histogram whose every observation falls into the bucket that ends at a bound."""
    found: dict[str, str] = counter(f"{metric}_count", a_minute, **labels)
    for index, bound in enumerate(BOUNDS):
        rate = a_minute if index >= BOUNDS.index(below) else 0
        found |= counter(f"{metric}_bucket", rate, **labels, le=bound)
    return found


def native_histogram(metric: str, a_minute: float, below: str, /, **labels: str) -> dict[str, str]:
    """The same histogram as Prometheus stores it with ``convert_classic_histograms_to_nhcb``."""

    def sample(counts: list[float]) -> str:
        bounds, buckets = " ".join(BOUNDS[:-1]), " ".join(map(str, counts))
        count = sum(counts)
        return (
            f"{{{{schema:-53 sum:{count} count:{count} custom_values:[{bounds}] "
            f"buckets:[{buckets}]}}}}"
        )

    increase = [a_minute if bound == below else 0.0 for bound in BOUNDS]
    first = sample([1_000_000.0] * len(BOUNDS))
    return series(metric, f"{first}+{sample(increase)}x{MINUTES}", **labels)


@dataclass(frozen=True)
class Expectation:
    """The expected values of expressions after the rules evaluated some series.

    Args:
        name: shown where it is not met.
        inputs: series and their values.
        at: minutes after the first sample.
        samples: PromQL expressions, and what each must give, as ``exp_samples`` has it.
        interval: minutes between two samples.
    """

    name: str
    inputs: Mapping[str, str]
    at: int
    samples: Mapping[str, Sequence[Mapping[str, Any]]]
    interval: int = 1

    def as_test(self) -> dict[str, Any]:
        """In the form of promtool's test files."""
        rows = [{"series": name, "values": values} for name, values in self.inputs.items()]
        queries = [
            {"expr": expression, "eval_time": f"{self.at}m", "exp_samples": samples}
            for expression, samples in self.samples.items()
        ]
        return {
            "name": self.name, "interval": f"{self.interval}m", "input_series": rows,
            "promql_expr_test": queries,
        }  # fmt: skip


def unit_test(folder: Path, *expectations: Expectation) -> None:
    """Hold all rules to what is expected of them, by ``promtool test rules``.

    Args:
        folder: where the test file is written.
        expectations: each is met by rules that have seen nothing of the others.
    """
    path = folder / "test.yml"
    content = {
        "rule_files": [str(each) for each in RULE_FILES],
        "evaluation_interval": f"{max(each.interval for each in expectations)}m",
        "group_eval_order": evaluation_order(),
        "tests": [each.as_test() for each in expectations],
    }
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    status, output = promtool("test", "rules", str(path))
    assert status == 0, output
