"""Draws what a command writes to a terminal, as SVG for the documentation.

    python -m tests.support.terminal_picture            # all of PICTURES, into docs/pictures
    python -m tests.support.terminal_picture doctor     # one of them

Each command runs in a real terminal of its own, against the demo server under gunicorn.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.support.paths import DOCS
from tests.support.running import DEADLINE, DemoServer, command, environment, simulate

PICTURES = {"doctor": ("doctor", "--url", "{url}")}
"""The arguments of the command in each picture; ``{url}`` is the server."""
SHOWN_URL = "http://127.0.0.1:8000"
SHOWN_DIRECTORY = "/dev/shm/avatar-telemetry-x1y2z3a4b5c6"
"""Cut to the length of the real one: the text is wrapped already."""
COLUMNS, LINES = 80, 40
# Nothing listens there: the picture has a fault, and its fix.
EXPORT = {
    "OTEL_EXPORT_ENABLED": "true",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
}
FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def written_to_terminal(arguments: list[str], env: dict[str, str]) -> str:
    """Run a program in a terminal, and return its output, with its colours.

    Raises:
        TimeoutError: it has not ended within the deadline.
    """
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    with subprocess.Popen(
        arguments, env={**env, "TERM": "xterm-256color"}, stdin=terminal, stdout=terminal,
        stderr=terminal,
    ) as process, os.fdopen(ours, "rb", buffering=0) as reader:  # fmt: skip
        os.close(terminal)
        parts, end = [], time.monotonic() + DEADLINE
        with suppress(OSError):  # EIO: the program has closed its end
            while select.select([reader], [], [], max(end - time.monotonic(), 0))[0]:
                parts.append(os.read(ours, 4096))
        if time.monotonic() >= end:
            process.kill()
            raise TimeoutError(f"{arguments[0]} has not ended after {DEADLINE:.0f} s")
        process.wait(DEADLINE)
    return b"".join(parts).decode().replace("\r\n", "\n")


def draw(text: str, title: str) -> str:
    """Return a picture of a terminal with this text, which may have colours.

    It names no font of another host, because a browser would not load it within a picture.
    """
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(text.rstrip("\n")))
    svg = console.export_svg(title=title, theme=MONOKAI, unique_id="terminal")
    lines = (line.rstrip() for line in FONT_FACE.sub("", svg).splitlines())
    return "\n".join(line for line in lines if line) + "\n"


def drawn(name: str, server: DemoServer) -> str:
    """Return the picture of a command that was run against a server."""
    arguments = [each.format(url=server.url) for each in PICTURES[name]]
    text = written_to_terminal(command(*arguments), environment(**server.env))
    directory = str(server.runtime)
    shown = text.replace(directory, SHOWN_DIRECTORY[: len(directory)])
    shown = shown.replace(server.url, SHOWN_URL)
    title = " ".join(["avatar-telemetry", *arguments]).replace(server.url, SHOWN_URL)
    return draw(shown, title)


def main() -> None:
    """Draw the pictures that are named, or all of them."""
    parser = argparse.ArgumentParser(description="Draw what commands write, into docs/pictures.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PICTURES)}; by default all")
    names = parser.parse_args().names or list(PICTURES)
    with TemporaryDirectory(dir="/dev/shm") as folder, DemoServer(Path(folder), **EXPORT) as server:
        simulate(server.url, "-n", 200)
        for name in names:
            path = DOCS / "pictures" / f"{name}.svg"
            path.write_text(drawn(name, server), encoding="utf-8")


if __name__ == "__main__":
    main()
