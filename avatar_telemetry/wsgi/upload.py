"""The upload observer: reads along while the application reads ``wsgi.input``.

It sees every byte that the application sees, in the same order, and changes none; of a file it
keeps the content type and the size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, WSGIEnvironment

# The parser holds what it is fed until it is looked at: this bounds it whatever the application
# reads at once.
SLICE = 1 << 16
# What is read in small pieces, such as lines, is parsed in larger ones: a body of nothing but line
# ends would else cost seconds of parsing for each megabyte.
GATHERED = 1 << 13
MAX_HEADERS = 32
# Beyond so many files of one request the rest is not told; a form has a handful.
MAX_FILES = 100
MAX_PARTS = 1000


class UploadObserver:
    """Stands for ``wsgi.input`` (PEP 3333, "Input and Error Streams").

    Args:
        stream: the server's input.
        boundary: of the multipart body.
        failed: called inside the ``except`` block of a failure that is not the client's.
    """

    def __init__(self, stream: InputStream, boundary: str, failed: Callable[[], None]) -> None:
        self._stream = stream
        self._failed = failed
        self._files: list[MultipartSegment] = []
        self._waiting = bytearray()
        self.bytes_read = 0
        # Latin-1 decodes any bytes; a file name is not kept, so its charset does not matter.
        self._parser: PushMultipartParser | None = PushMultipartParser(
            boundary,
            max_header_count=MAX_HEADERS,
            max_segment_count=MAX_PARTS,
            header_charset="latin-1",
        )

    def read(self, *args: Any) -> bytes:
        return self._observe(self._stream.read(*args))

    def readline(self, *args: Any) -> bytes:
        return self._observe(self._stream.readline(*args))

    def readlines(self, *args: Any) -> list[bytes]:
        lines = self._stream.readlines(*args)
        self._observe(b"".join(lines))
        return lines

    def __iter__(self) -> Iterator[bytes]:
        for line in self._stream:
            yield self._observe(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def files(self) -> Iterator[tuple[str, int]]:
        """Content type and bytes of each file that was seen, cut-off ones as far as they came."""
        self._parse(b"")
        for segment in self._files:
            yield segment.content_type or "", segment.bytes_received

    def first(self) -> MultipartSegment | None:
        """The first file, ``None`` where there was none."""
        self._parse(b"")
        return self._files[0] if self._files else None

    def _observe(self, data: bytes) -> bytes:
        if not isinstance(data, (bytes, bytearray)):
            return data
        self.bytes_read += len(data)
        if self._parser is not None:
            if len(self._waiting) + len(data) < GATHERED:
                self._waiting += data
            else:
                self._parse(data)
        return data

    def _parse(self, data: bytes) -> None:
        """Parse what waits, and then this."""
        waiting, self._waiting = self._waiting, bytearray()
        for piece in (bytes(waiting), data):
            if self._parser is not None:
                self._try_to_feed(self._parser, piece)

    def _try_to_feed(self, parser: PushMultipartParser, data: bytes) -> None:
        try:
            self._feed(parser, data)
        except (MultipartError, UnicodeError):
            self._parser = None  # a malformed body; what was seen counts
        except Exception:  # noqa: BLE001 - the application gets its data whatever happens here
            self._parser = None
            self._failed()

    def _feed(self, parser: PushMultipartParser, data: bytes) -> None:
        for start in range(0, len(data), SLICE):
            for event in parser.parse(data[start : start + SLICE]):
                if (
                    isinstance(event, MultipartSegment)
                    and event.filename
                    and len(self._files) < MAX_FILES
                ):
                    self._files.append(event)
            if parser.closed:
                self._parser = None
                return


def observe_upload(environ: WSGIEnvironment, failed: Callable[[], None]) -> UploadObserver | None:
    """An observer for the input of a request, or ``None`` where it has no multipart body."""
    content_type = environ.get("CONTENT_TYPE", "")
    if not content_type.lower().startswith("multipart/form-data"):
        return None
    try:
        boundary = parse_options_header(content_type)[1].get("boundary", "")
        return UploadObserver(environ["wsgi.input"], boundary, failed)
    except (MultipartError, UnicodeError, KeyError):
        return None
