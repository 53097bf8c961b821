"""Prometheus' own tool takes the rules and the configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.promtool import PROMETHEUS, RULE_FILES, promtool


def test_rules_are_valid() -> None:
    """Every rule parses, and nothing in the files is suspicious."""
    status, output = promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, RULE_FILES))
    assert status == 0, output


@pytest.mark.parametrize("native", ["false", "true"], ids=["classic", "native"])
@pytest.mark.parametrize("scrape", ["direct", "collector"])
def test_the_configuration_is_valid(scrape: str, native: str, tmp_path: Path) -> None:
    """It is complete but for the token, whichever way and kind of histograms is chosen."""
    folder = shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    (folder / "metrics-token").write_text("a-token-of-the-tests")
    path = folder / "prometheus.yml"
    text = path.read_text().replace("scrape/direct.yml\n\n", f"scrape/{scrape}.yml\n\n")
    text = text.replace("_to_nhcb: false", f"_to_nhcb: {native}")
    assert text.count(f"_to_nhcb: {native}\n") == 2
    path.write_text(text)
    assert yaml.safe_load(text)["scrape_config_files"] == [f"scrape/{scrape}.yml"]
    status, output = promtool("check", "config", "--lint=all", "--lint-fatal", str(path))
    assert status == 0, output


def test_every_way_gives_an_environment() -> None:
    """Each target, and the receiver, puts the environment on the series that rules group by."""
    for path in (PROMETHEUS / "scrape").glob("*.yml"):
        for job in yaml.safe_load(path.read_text())["scrape_configs"]:
            assert job["job_name"].startswith("ivatar")  # MetricsScrapeFails looks for that
            assert all("environment" in each["labels"] for each in job["static_configs"])
    main = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert "environment" in main["otlp"]["promote_resource_attributes"]
