"""The script for mod_wsgi runs, and the application finds the variables that it sets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.documents import DOCS, blocks
from tests.support.running import DEADLINE, environment

APPLICATION = """
import os
assert os.environ["PROMETHEUS_MULTIPROC_DIR"] and os.environ["OTEL_EXPORT_ENABLED"] == "true"
assert "avatar_telemetry" not in __import__("sys").modules
application = print
"""


def test_script_of_mod_wsgi(tmp_path: Path) -> None:
    """It sets the environment of its process before anything reads it, then wraps the server."""
    (script,) = [each for each in blocks(DOCS / "other-servers.md") if each.language == "python"]
    (tmp_path / "telemetry_wsgi.py").write_text(script.text)
    (tmp_path / "ivatar").mkdir()
    (tmp_path / "ivatar" / "wsgi.py").write_text(APPLICATION)
    check = "from telemetry_wsgi import application; assert application is not print"
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=tmp_path, env=environment(), capture_output=True,
        text=True, timeout=DEADLINE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
