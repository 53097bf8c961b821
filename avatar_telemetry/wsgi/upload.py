"""The upload observer: parses the data that the application reads from ``wsgi.input``.

It sees every byte that the application sees, in the same order, and changes none; of a file it
keeps the content type and the size.
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

# The parser holds what it is fed until it is looked at: this bounds it whatever the application
# reads at once.
SLICE = 1 << 16
# What is read in small pieces, such as lines, is parsed in larger ones: a body of nothing but line
# ends would else cost seconds of parsing for each megabyte.
GATHERED = 1 << 13
MAX_HEADERS = 32
# Files of one request that are recorded; a form has a handful.
MAX_FILES = 100
MAX_PARTS = 1000


class File(NamedTuple):
    """A file of an upload.

    Args:
        content_type: as a label, so that nothing long is kept.
        size: bytes that were seen.
    """

    content_type: str
    size: int


class Upload:
    """The files of a request, parsed from what the application reads.

    Args:
        boundary: of the multipart body.
        failed: called inside the ``except`` block of a failure that is not the client's.
        fields: names of form fields to look for.
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
        """File name of the first file, as the client sent it."""
        self._waiting = bytearray()
        self.bytes_read = 0
        # Latin-1 decodes any bytes; a file name is not kept, so its charset does not matter.
        self._parser: PushMultipartParser | None = PushMultipartParser(
            boundary,
            max_header_count=MAX_HEADERS,
            max_segment_count=MAX_PARTS,
            header_charset="latin-1",
        )

    def files(self) -> list[File]:
        """The files that were seen, incomplete ones as far as they came."""
        self._parse(b"")
        if self._segment is None:
            return self._complete
        return [*self._complete, _file(self._segment)]

    def has_filled(self, fields: frozenset[str]) -> bool:
        """Return whether all these fields were seen whole and not empty."""
        self.files()  # parses what waits
        return fields <= self._filled

    def observe(self, data: object) -> None:
        """Parse data that the application has read; what is no bytes is not a body's."""
        if not isinstance(data, (bytes, bytearray)):
            return
        self.bytes_read += len(data)
        if self._parser is not None:
            if len(self._waiting) + len(data) < GATHERED:
                self._waiting += data
            else:
                self._parse(data)

    def _parse(self, data: bytes | bytearray) -> None:
        """Parse what waits, and then this."""
        waiting, self._waiting = self._waiting, bytearray()
        for piece in (bytes(waiting), data):
            if self._parser is not None:
                self._try_to_feed(self._parser, piece)

    def _try_to_feed(self, parser: PushMultipartParser, data: bytes | bytearray) -> None:
        try:
            self._feed(parser, data)
        except (MultipartError, UnicodeError):
            self._parser = None  # a malformed body; what was seen counts
        except Exception:  # noqa: BLE001 - the application gets its data whatever happens here
            self._parser = None
            self._failed()

    def _feed(self, parser: PushMultipartParser, data: bytes | bytearray) -> None:
        for start in range(0, len(data), SLICE):
            for event in parser.parse(data[start : start + SLICE]):
                if isinstance(event, MultipartSegment):
                    self._begin_part(event)
                elif event is None:
                    self._end_part()
            if parser.closed:
                self._parser = None
                return

    def _begin_part(self, segment: MultipartSegment) -> None:
        """Keep type and size of the file before: its headers may be long."""
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
    """Stands for ``wsgi.input`` (PEP 3333, "Input and Error Streams").

    It has the methods and attributes of the server's stream, and no others; the special methods
    are those of the class that :func:`observed_input` makes.

    Args:
        stream: the server's input.
        upload: sees what is read.
    """

    def __init__(self, stream: InputStream, upload: Upload) -> None:
        vars(self).update(_ObservedInput__stream=stream, _ObservedInput__upload=upload)

    def __getattr__(self, name: str) -> Any:
        # Made without __init__, as copy and pickle do; their methods are not the stream's.
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
"""Special methods, which Python looks up on the class."""


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
        with suppress(TypeError, ValueError):  # the application's object
            upload.observe(bytes(memoryview(args[0]).cast("B")[:result]))


Seen = Callable[[Upload, Any, "tuple[Any, ...]"], None]

READS: dict[str, Seen] = {
    "read": _see_data, "read1": _see_data, "readline": _see_data, "readlines": _see_lines,
    "readinto": _see_buffer, "readinto1": _see_buffer,
}  # fmt: skip
"""Methods that take data from a stream (PEP 3333, and those of Python's binary files)."""


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
    """An observer with the special methods of a stream.

    Args:
        stream: the server's input, or the observer of an earlier request with the same environ.
        upload: sees what is read.
    """
    if isinstance(stream, ObservedInput):
        stream = _parts(stream)[0]
    return _class_for(type(stream))(stream, upload)


def observe_upload(
    environ: WSGIEnvironment, failed: Callable[[], None], fields: frozenset[str] = frozenset()
) -> Upload | None:
    """Observe the input of a request; ``None`` where it has no multipart body.

    Args:
        environ: the WSGI environment, whose ``wsgi.input`` is replaced.
        failed: called inside the ``except`` block of a failure that is not the client's.
        fields: names of form fields to look for.
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
