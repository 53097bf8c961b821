"""A stand-in for Gravatar: it has a picture, none, or a fault, by the first letter of a digest."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

from PIL import Image


class _Gravatar(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"a": 200, "b": 404}.get(self.path.rpartition("/")[2][:1], 503)
        body = _picture() if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """A request is no news."""


def _picture() -> bytes:
    file = BytesIO()
    Image.new("RGB", (80, 80), "teal").save(file, "PNG")
    return file.getvalue()


@contextmanager
def gravatar() -> Iterator[str]:
    """Runs it; gives its address under the name that the test profile knows."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Gravatar)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
