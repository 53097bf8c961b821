"""A stand-in for Gravatar: a picture, none, a fault, or silence, by a digest's first letter."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image

from tests.support.local_server import Handler, make_server, serving


class _Gravatar(Handler):
    def do_GET(self) -> None:
        first = self.path.rpartition("/")[2][:1]
        if first == "z":
            return  # the connection ends without an answer
        status = {"a": 200, "b": 404}.get(first, 503)
        self.respond(status, _picture() if status == 200 else b"", Content_Type="image/png")


def _picture() -> bytes:
    file = BytesIO()
    Image.new("RGB", (80, 80), "teal").save(file, "PNG")
    return file.getvalue()


def make_certificate(folder: Path, openssl: str) -> Path:
    """A certificate for ``localhost`` that is its own authority; a file with it and its key."""
    path = folder / "localhost.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-addext", "keyUsage=critical,digitalSignature,keyCertSign",
         "-keyout", str(folder / "key"), "-out", str(path)],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    path.write_text(path.read_text() + (folder / "key").read_text())
    return path


@contextmanager
def gravatar(certificate: Path | None = None) -> Iterator[str]:
    """Runs it, over TLS where there is a certificate.

    Gives its address under the name that the test profile knows.
    """
    server = make_server(_Gravatar)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # Each handshake in the thread of its connection, not in the one that accepts.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        scheme = "https"
    with serving(server):
        yield f"{scheme}://localhost:{server.server_port}"
