"""Photos are checked before they are unpacked, and stored without metadata."""

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image

from avatar_demo.images import PhotoError, crop_photo, render_photo, take_photo


def png_bomb(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))  # fmt: skip

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF", "WEBP"])
def test_formats(photo, name):
    """A photo keeps its format, and its avatar has it, too."""
    stored, subtype = take_photo(photo(name), 10_000)
    assert subtype == name.lower()
    avatar = Image.open(BytesIO(render_photo(stored, 32)))
    assert (avatar.format, avatar.size) == (name, (32, 32))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="cut off"),
        pytest.param(b"BM" + bytes(60), id="BMP"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", id="PostScript"),
    ],
)
def test_no_photo(data):
    """A file in none of the four formats is refused."""
    with pytest.raises(PhotoError, match="Invalid format"):
        take_photo(data, 10_000)


def test_cut_off(photo):
    """A photo whose end is missing is refused."""
    with pytest.raises(PhotoError, match="Invalid format"):
        take_photo(photo("JPEG", (400, 400))[:-400], 10_000_000)


@pytest.mark.parametrize("side", [200, 20_000, 60_000])
def test_bomb(side):
    """A file whose header has too many pixels is refused before it is unpacked."""
    with pytest.raises(PhotoError, match=r"too many pixels|Invalid"):
        take_photo(png_bomb(side, side), 30_000)


def test_metadata_is_dropped():
    """A camera's metadata is not stored, but the picture is turned upright."""
    file, exif = BytesIO(), Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "at home"
    Image.new("RGB", (60, 40)).save(file, "JPEG", exif=exif)
    stored, _ = take_photo(file.getvalue(), 10_000)
    assert b"at home" not in stored
    assert Image.open(BytesIO(stored)).size == (40, 60)


def test_large_photo_is_made_smaller(photo):
    """No stored photo is larger than 1024 pixels a side."""
    stored, _ = take_photo(photo("PNG", (3000, 1500)), 10_000_000)
    assert Image.open(BytesIO(stored)).size == (1024, 512)


@pytest.mark.parametrize(
    ("box", "size"),
    [
        pytest.param((0, 0, 0, 0), (40, 40), id="the middle square"),
        pytest.param((10, 5, 20, 30), (20, 30), id="a part"),
        pytest.param((0, 0, 60, 40), (60, 40), id="all"),
    ],
)
def test_crop(photo, box, size):
    """A crop is the requested part."""
    assert Image.open(BytesIO(crop_photo(photo(), *box))).size == size


@pytest.mark.parametrize("box", [(50, 0, 20, 20), (0, 30, 20, 20), (0, 0, 0, 10), (-1, 0, 5, 5)])
def test_crop_outside(photo, box):
    """A crop that leaves the photo is refused."""
    with pytest.raises(PhotoError, match="outside"):
        crop_photo(photo(), *box)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "RGBA", "CMYK"])
def test_modes(mode):
    """Photos of any kind of pixels become avatars."""
    file, name = BytesIO(), "JPEG" if mode == "CMYK" else "PNG"
    Image.new(mode, (30, 30)).save(file, name)
    stored, _ = take_photo(file.getvalue(), 10_000)
    assert Image.open(BytesIO(render_photo(stored, 16))).size == (16, 16)
