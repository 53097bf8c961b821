"""The script for mod_wsgi runs, and the application finds the variables that it sets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.documents import DOCS, blocks

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
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "AVATAR_TELEMETRY_", "PROMETHEUS_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=tmp_path, env=environ, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
