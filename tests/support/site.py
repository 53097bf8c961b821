"""The site of the documentation, as a reader gets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.paths import REPOSITORY
from tests.support.requirements import require

PATIENCE = 300


def built_site(folder: Path) -> Path:
    """Build the site strictly into a folder; skips or fails the test without the extra ``docs``."""
    require("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder
