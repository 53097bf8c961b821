"""Observe uploads: parse the data that the application reads from ``wsgi.input``.

Every byte that the application reads is parsed, in the same order and unchanged. Only the content
type and the size of a file are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, NamedTuple

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from avatar_telemetry.http.environ import text
from avatar_telemetry.http.labels import upload_type

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, WSGIEnvironment

# The parser buffers its input: this bounds the buffer for any size that the application reads.
MAX_PIECE_SIZE = 1 << 16
# Data that is read in small pieces, such as lines, is parsed in larger ones: a body of line ends
# only would take seconds of parsing for each megabyte.
MIN_PIECE_SIZE = 1 << 13
MAX_HEADERS = 32
MAX_FILES = 100
MAX_PARTS = 1000


class File(NamedTuple):
    """A file of an upload.

    Args:
        content_type: the value of the label.
        size: the number of bytes that were read.
    """

    content_type: str
    size: int


class Upload:
    """The files of a request, parsed from the data that the application reads.

    Args:
        boundary: the boundary of the multipart body.
        failed: a function that is called in the ``except`` block of an internal failure.
        fields: the names of form fields to look for.
    """

    def __init__(
        self, boundary: str, failed: Callable[[], None], fields: frozenset[str] = frozenset()
    ) -> None:
        self._failed = failed
        self._fields = fields
        self._filled: set[str] = set()
        self._part: MultipartSegment | None = None
        self._complete: list[File] = []
        self._segment: MultipartSegment | None = None
        self.first_name = ""
        """The file name of the first file, as the client sent it."""
        self._buffer = bytearray()
        self.bytes_read = 0
        # Latin-1 decodes any bytes; the file name is decoded as UTF-8 when it is recorded.
        self._parser: PushMultipartParser | None = PushMultipartParser(
            boundary,
            max_header_count=MAX_HEADERS,
            max_segment_count=MAX_PARTS,
            header_charset="latin-1",
        )

    def files(self) -> list[File]:
        """Return the files that were read, also partially."""
        self._parse(b"")
        if self._segment is None:
            return self._complete
        return [*self._complete, _file(self._segment)]

    def has_filled(self, fields: frozenset[str]) -> bool:
        """Return whether all these fields were read completely and have content."""
        self.files()  # parses the buffer
        return fields <= self._filled

    def observe(self, data: object) -> None:
        """Parse data that the application has read; anything but bytes is ignored."""
        if not isinstance(data, (bytes, bytearray)):
            return
        self.bytes_read += len(data)
        if self._parser is not None:
            if len(self._buffer) + len(data) < MIN_PIECE_SIZE:
                self._buffer += data
            else:
                self._parse(data)

    def _parse(self, data: bytes | bytearray) -> None:
        """Parse the buffer, and then more data."""
        buffer, self._buffer = self._buffer, bytearray()
        for piece in (bytes(buffer), data):
            if self._parser is not None:
                self._try_to_feed(self._parser, piece)

    def _try_to_feed(self, parser: PushMultipartParser, data: bytes | bytearray) -> None:
        try:
            self._feed(parser, data)
        except (MultipartError, UnicodeError):
            self._parser = None  # a malformed body; the files before the fault are counted
        except Exception:  # noqa: BLE001 - the application must get its data
            self._parser = None
            self._failed()

    def _feed(self, parser: PushMultipartParser, data: bytes | bytearray) -> None:
        for start in range(0, len(data), MAX_PIECE_SIZE):
            for event in parser.parse(data[start : start + MAX_PIECE_SIZE]):
                if isinstance(event, MultipartSegment):
                    self._begin_part(event)
                elif event is None:
                    self._end_part()
            if parser.closed:
                self._parser = None
                return

    def _begin_part(self, segment: MultipartSegment) -> None:
        """Reduce the previous file to its type and size, because its headers may be long."""
        self._part = segment
        if self._segment is not None:
            self._complete.append(_file(self._segment))
            self._segment = None
        if segment.filename and len(self._complete) < MAX_FILES:
            self._segment = segment
            if not self._complete:
                self.first_name = segment.filename

    def _end_part(self) -> None:
        part = self._part
        if part is not None and part.name in self._fields and part.bytes_received:
            self._filled.add(part.name)


class ObservedInput:
    """A replacement of ``wsgi.input`` (PEP 3333, "Input and Error Streams").

    It has the methods and attributes of the server's stream, and no others. :func:`observed_input`
    adds the special methods.

    Args:
        stream: the input of the server.
        upload: the observer of the data that is read.
    """

    def __init__(self, stream: InputStream, upload: Upload) -> None:
        vars(self).update(_ObservedInput__stream=stream, _ObservedInput__upload=upload)

    def __getattr__(self, name: str) -> Any:
        # copy and pickle create an object without __init__; their methods are not the stream's.
        if name in OWN or name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self.__stream, name)
        see = READS.get(name)
        if see is None:
            return value
        method = vars(self)[name] = _observed(value, see, self.__upload)
        return method

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__stream, name, value)
        vars(self).pop(name, None)

    def __dir__(self) -> Iterable[str]:
        return dir(self.__stream)


def _iter(observed: Any) -> Iterator[bytes]:
    stream, upload = _parts(observed)
    lines = iter(stream)
    return observed if lines is stream else _lines(lines, upload)


def _next(observed: Any) -> bytes:
    stream, upload = _parts(observed)
    line: bytes = next(stream)
    upload.observe(line)
    return line


def _enter(observed: Any) -> Any:
    stream = _parts(observed)[0]
    entered = stream.__enter__()
    return observed if entered is stream else entered


def _exit(observed: Any, *args: Any) -> Any:
    return _parts(observed)[0].__exit__(*args)


SPECIAL = {"__iter__": _iter, "__next__": _next, "__enter__": _enter, "__exit__": _exit}
"""Special methods, which Python looks up in the class."""


OWN = ("_ObservedInput__stream", "_ObservedInput__upload")


def _parts(observed: Any) -> tuple[Any, Upload]:
    return observed._ObservedInput__stream, observed._ObservedInput__upload


def _lines(lines: Iterator[bytes], upload: Upload) -> Iterator[bytes]:
    for line in lines:
        upload.observe(line)
        yield line


def _see_data(upload: Upload, result: Any, args: tuple[Any, ...]) -> None:
    upload.observe(result)


def _see_lines(upload: Upload, result: Any, args: tuple[Any, ...]) -> None:
    if isinstance(result, list):
        for line in result:
            upload.observe(line)


def _see_buffer(upload: Upload, result: Any, args: tuple[Any, ...]) -> None:
    if isinstance(result, int) and args:
        with suppress(TypeError, ValueError):  # an object of the application
            upload.observe(bytes(memoryview(args[0]).cast("B")[:result]))


Seen = Callable[[Upload, Any, "tuple[Any, ...]"], None]

READS: dict[str, Seen] = {
    "read": _see_data, "read1": _see_data, "readline": _see_data, "readlines": _see_lines,
    "readinto": _see_buffer, "readinto1": _see_buffer,
}  # fmt: skip
"""Methods that read data from a stream (PEP 3333, and those of Python's binary files)."""


def _observed(method: Callable[..., Any], see: Seen, upload: Upload) -> Callable[..., Any]:
    @wraps(method)
    def read(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        see(upload, result, args)
        return result

    return read


@lru_cache(maxsize=64)
def _class_for(kind: type) -> type[ObservedInput]:
    members = {name: SPECIAL[name] for name in SPECIAL if hasattr(kind, name)}
    return type("ObservedInput", (ObservedInput,), members)


def observed_input(stream: InputStream, upload: Upload) -> ObservedInput:
    """Return an :class:`ObservedInput` with the special methods of a stream.

    Args:
        stream: the input of the server, or the result for an earlier request with this environ.
        upload: the observer of the data that is read.
    """
    if isinstance(stream, ObservedInput):
        stream = _parts(stream)[0]
    return _class_for(type(stream))(stream, upload)


def observe_upload(
    environ: WSGIEnvironment, failed: Callable[[], None], fields: frozenset[str] = frozenset()
) -> Upload | None:
    """Observe the input of a request; ``None`` if it has no multipart body.

    Args:
        environ: the WSGI environment, whose ``wsgi.input`` is replaced.
        failed: a function that is called in the ``except`` block of an internal failure.
        fields: the names of form fields to look for.
    """
    content_type = text(environ.get("CONTENT_TYPE"))
    if not content_type.lower().startswith("multipart/form-data"):
        return None
    try:
        boundary = parse_options_header(content_type)[1].get("boundary", "")
        upload = Upload(boundary, failed, fields)
        environ["wsgi.input"] = observed_input(environ["wsgi.input"], upload)
    except (MultipartError, UnicodeError, KeyError):
        return None
    return upload


def _file(segment: MultipartSegment) -> File:
    return File(upload_type(segment.content_type or ""), segment.bytes_received)
