"""``python -m avatar_demo``: a port in use is one line, and the addresses are those of gunicorn."""

from __future__ import annotations

import socket
import subprocess

import pytest

from avatar_demo.__main__ import addresses, taken
from tests.support.paths import REPOSITORY
from tests.support.real_servers import hold_port
from tests.support.running import DEADLINE, demo_command, environment


@pytest.mark.parametrize(
    ("arguments", "env", "found"),
    [
        pytest.param([], {}, [("127.0.0.1", 8000)], id="default"),
        pytest.param([], {"GUNICORN_BIND": "0.0.0.0:81"}, [("0.0.0.0", 81)], id="variable"),
        pytest.param(["--bind", "[::1]:90", "-b", "here:91"], {"GUNICORN_BIND": "0.0.0.0:81"},
                     [("::1", 90), ("here", 91)], id="options"),
        pytest.param([], {"GUNICORN_CMD_ARGS": "--bind=here:82 -w 3"}, [("here", 82)], id="args"),
        pytest.param(["-b", "unix:/run/x"], {}, [], id="socket"),
        pytest.param(["-b", "here:http"], {}, [], id="invalid"),
        pytest.param(["-c", "other.py"], {}, [], id="another file"),
        pytest.param(["--reuse-port"], {}, [], id="shared"),
    ],
)  # fmt: skip
def test_addresses(
    arguments: list[str], env: dict[str, str], found: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The addresses are those that gunicorn binds, as far as that is known without its file."""
    for name in ("GUNICORN_BIND", "GUNICORN_CMD_ARGS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert addresses(arguments) == found


def test_a_port_is_taken_while_a_program_listens() -> None:
    """A port in use is recognised, and not kept."""
    with hold_port() as holder:
        address = holder.getsockname()[:2]
        holder.listen()
        assert taken(address)
    assert not taken(("127.0.0.1", 0))


def test_a_port_in_use_is_one_line() -> None:
    """The demo does not try again for seconds: one line, and status 2."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        ended = subprocess.run(
            demo_command("avatar_demo", "--bind", f"127.0.0.1:{port}"), cwd=REPOSITORY,
            env=environment(), capture_output=True, text=True, timeout=DEADLINE,
        )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"avatar_demo: 127.0.0.1:{port} is in use; end its program, or choose another: --bind"
        f" 127.0.0.1:{port + 1}\n"
    )
