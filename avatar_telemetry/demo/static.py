"""Static files, handed to the server as files, so that it can use sendfile."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from webob import Response

from avatar_telemetry.demo.http import HttpError
from avatar_telemetry.demo.visit import Visit

FOLDER = Path(__file__).with_name("static")
BLOCK = 64 * 1024
MAX_AGE = 3600


class FileBlocks:
    """A file in blocks, for servers without ``wsgi.file_wrapper``."""

    def __init__(self, file: BinaryIO, block: int = BLOCK) -> None:
        self._file = file
        self._block = block

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._file.read(self._block), b"")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def static_file(visit: Visit, name: str) -> Any:
    """``/static/…``: the folder is flat, ``img/mm/80.png`` is its ``mm-80.png``."""
    path = _files().get(name)
    if path is None:
        raise HttpError(404, "There is no such file.")
    modified = formatdate(path.stat().st_mtime, usegmt=True)
    if visit.request.headers.get("If-Modified-Since") == modified:
        response = Response(status=304)
    else:
        response = Response(content_type=mimetypes.guess_type(path.name)[0], charset=None)
        if path.suffix in (".css", ".js"):
            response.charset = "utf-8"
        response.app_iter = _open(visit, path)
        response.content_length = path.stat().st_size  # WebOb forgets it with every new body
    response.headers["Last-Modified"] = modified
    response.headers["Cache-Control"] = f"max-age={MAX_AGE}"
    return response


def sized_image(kind: str, size: int) -> str:
    """The path of a static image, of the largest where there is none of this size."""
    name = f"img/{kind}/{size}.png"
    return f"/static/{name}" if name in _files() else f"/static/img/{kind}/512.png"


def _open(visit: Visit, path: Path) -> Iterable[bytes]:
    wrapper = visit.request.environ.get("wsgi.file_wrapper", FileBlocks)
    wrapped: Iterable[bytes] = wrapper(path.open("rb"), BLOCK)
    return wrapped


@cache
def _files() -> dict[str, Path]:
    return {_public_name(path): path for path in FOLDER.iterdir() if path.is_file()}


def _public_name(path: Path) -> str:
    if path.suffix == ".png":
        return "img/" + path.name.replace("-", "/")
    return path.name
