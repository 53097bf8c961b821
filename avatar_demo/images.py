"""Uploaded photos: the accepted formats, crops, and pictures of a size."""

from __future__ import annotations

import struct
import warnings
from io import BytesIO

from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
MAX_STORED_SIDE = 1024
"""The largest side of a stored photo, so that no request decodes a large one again."""
AVATAR_SIDE = 512
QUALITY = 85
MAX_FILE_SIDE = 20_000
BROKEN = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, OverflowError, struct.error,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
"""The errors of Pillow for files that are not images."""


class PhotoError(ValueError):
    """A file is not an accepted photo; the message is for the user."""


def take_photo(data: bytes, max_pixels: int) -> tuple[bytes, str]:
    """Make the photo to store from an uploaded file, without its metadata.

    Returns:
        The photo, and the subtype of its media type, such as ``jpeg``.

    Raises:
        PhotoError: no PNG, JPEG, GIF or WebP file, a broken one, or too many pixels.
    """
    try:
        with warnings.catch_warnings():
            # The limit below is stricter; Pillow's own would only warn.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(data), formats=FORMATS)
        # Only the header was read: a decompression bomb is refused before it is decoded.
        if image.width * image.height <= max_pixels and max(image.size) <= MAX_FILE_SIDE:
            name = image.format or "PNG"
            if name == "JPEG":
                image.draft("RGB", (MAX_STORED_SIDE, MAX_STORED_SIDE))
            image.load()
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((MAX_STORED_SIDE, MAX_STORED_SIDE), Image.Resampling.LANCZOS)
            return _save(upright, name), name.lower()
    except BROKEN as error:
        raise PhotoError("Invalid format: the file is not a supported image.") from error
    raise PhotoError("The image has too many pixels.")


def crop_photo(data: bytes, x: int, y: int, width: int, height: int) -> bytes:
    """Return a part of a stored photo, at most as large as an avatar; for zeros the middle square.

    Raises:
        PhotoError: the part lies outside of the photo.
    """
    image = Image.open(BytesIO(data), formats=FORMATS)
    name = image.format or "PNG"
    if width == height == 0:
        width = height = min(image.size)
        x, y = (image.width - width) // 2, (image.height - height) // 2
    inside = x + width <= image.width and y + height <= image.height
    if not inside or min(x, y) < 0 or min(width, height) <= 0:
        raise PhotoError("The part lies outside of the photo.")
    part = image.crop((x, y, x + width, y + height))
    part.thumbnail((AVATAR_SIDE, AVATAR_SIDE), Image.Resampling.LANCZOS)
    return _save(part, name)


def render_photo(data: bytes, size: int) -> bytes:
    """Return the middle of a stored photo as a square of ``size`` pixels, in the same format."""
    image = Image.open(BytesIO(data), formats=FORMATS)
    name = image.format or "PNG"
    return _save(ImageOps.fit(_plain(image, name), (size, size), Image.Resampling.LANCZOS), name)


def photo_size(data: bytes) -> tuple[int, int]:
    """Return the width and height of a stored photo."""
    return Image.open(BytesIO(data), formats=FORMATS).size


def image_format(data: bytes) -> str:
    """Return the subtype of the media type of an image file, empty if it is not supported."""
    try:
        return (Image.open(BytesIO(data), formats=FORMATS).format or "").lower()
    except BROKEN:
        return ""


def _save(image: Image.Image, name: str) -> bytes:
    file = BytesIO()
    _plain(image, name).save(file, name, quality=QUALITY)
    return file.getvalue()


def _plain(image: Image.Image, name: str) -> Image.Image:
    mode = "RGB" if name == "JPEG" or not image.has_transparency_data else "RGBA"
    return image if image.mode == mode else image.convert(mode)
