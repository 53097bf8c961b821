"""The files of ``deploy/prometheus`` with other targets, in which minutes are seconds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.support.paths import REPOSITORY

DEPLOYED = REPOSITORY / "deploy" / "prometheus"
TOKEN = "token-of-the-tests"
DURATION = re.compile(r"(\[|for: |offset |_interval: |_timeout: )(\d+)([smhd])\b")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def hastened(text: str) -> str:
    """The same rules in seconds: a sixtieth, but windows of 10 to 20 s that hold some scrapes."""

    def shorter(match: re.Match[str]) -> str:
        word, number, unit = match.groups()
        seconds = int(number) * SECONDS[unit] / 60
        lower, upper = (10, 20) if word in ("[", "offset ") else (1, 5)
        return f"{word}{min(max(seconds, lower), upper):.0f}s"

    return DURATION.sub(shorter, text)


def deployed(folder: Path, targets: dict[str, str], *, native: bool = False) -> Path:
    """A hastened copy of the deployed files, with targets of the test and their token.

    Args:
        folder: where it is written.
        targets: those of the deployed files, and those of the test.
        native: whether histograms are stored as native ones.
    """
    shutil.copytree(DEPLOYED, folder)
    (folder / "metrics-token").write_text(TOKEN)
    for path in folder.rglob("*.yml"):
        text = hastened(path.read_text())
        for old, new in targets.items():
            text = text.replace(old, new)
        if native:
            text = text.replace("_to_nhcb: false", "_to_nhcb: true")
        path.write_text(text)
    return folder / "prometheus.yml"
