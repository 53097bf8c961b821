"""An application that is named: why it cannot be served is reported, and the server gives up."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatar_telemetry.runtime.entry_point import BOOT_ERROR, wrap_app

STDLIB = "wsgiref.simple_server"


def refused(reference: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The message with which the process would end."""
    with pytest.raises(SystemExit) as ended:
        wrap_app(reference)
    assert ended.value.code == BOOT_ERROR
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        pytest.param("", "AVATAR_TELEMETRY_APP is not set: must be module:NAME", id="unset"),
        pytest.param("my-app:a", "_APP='my-app:a': must be module:NAME", id="form"),
        pytest.param("nosuch:a", "_APP='nosuch:a': No module named 'nosuch'", id="module"),
        pytest.param(f"{STDLIB}:nosuch", f"nosuch': module '{STDLIB}' has no attribute", id="name"),
        pytest.param(f"{STDLIB}:__doc__", "takes a WSGI application", id="not callable"),
    ],
)
def test_a_reference_that_leads_to_no_application(
    capsys: pytest.CaptureFixture[str], reference: str, message: str
) -> None:
    """The message names the variable and its fault, without a traceback."""
    shown = refused(reference, capsys)
    assert message in shown
    assert "Traceback" not in shown


def test_an_application_whose_import_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its traceback comes first, then the variable and the error."""
    (tmp_path / "unready.py").write_text("raise TypeError('no database')")
    monkeypatch.syspath_prepend(tmp_path)
    shown = refused("unready:app", capsys)
    assert shown.startswith("Traceback")
    assert shown.endswith("AVATAR_TELEMETRY_APP='unready:app': TypeError: no database\n")
