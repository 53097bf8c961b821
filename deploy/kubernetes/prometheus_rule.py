"""Print the rules of deploy/prometheus/rules as a PrometheusRule of the Prometheus Operator.

    python deploy/kubernetes/prometheus_rule.py | kubectl apply -f -

Needs PyYAML.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parents[1] / "prometheus" / "rules"


def prometheus_rule() -> dict[str, Any]:
    """Return the resource, with the groups of all rule files."""
    groups = [
        group
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "ivatar", "labels": {"app.kubernetes.io/name": "ivatar"}},
        "spec": {"groups": groups},
    }


if __name__ == "__main__":
    yaml.safe_dump(prometheus_rule(), sys.stdout, sort_keys=False, width=120)
