"""Uploaded photos: what is taken in, and what is sent out."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
STORED_SIDE = 1024
"""Stored photos are at most so wide and high: nobody can make us decode a large one again."""
AVATAR_SIDE = 512
QUALITY = 85
MAX_FILE_SIDE = 20_000
_BROKEN = (
    OSError,  # Pillow's UnidentifiedImageError is one
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class PhotoError(ValueError):
    """A file is not a photo that we take; the message is for the user."""


@dataclass(frozen=True)
class StoredPhoto:
    """A photo as it goes into the database.

    Args:
        data: the file.
        format: the subtype of its media type, such as ``jpeg``.
    """

    data: bytes
    format: str


@dataclass(frozen=True)
class Box:
    """A part of a photo, in pixels from its left upper corner; no width means all of it."""

    x: int
    y: int
    width: int
    height: int

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether the part lies within a photo of this size."""
        inside = self.x + self.width <= size[0] and self.y + self.height <= size[1]
        return inside and min(self.x, self.y) >= 0 and min(self.width, self.height) > 0


def take_photo(data: bytes, max_pixels: int) -> StoredPhoto:
    """A photo made of an uploaded file, without its metadata.

    Raises:
        PhotoError: it is no PNG, JPEG, GIF or WebP file, a broken one, or too many pixels.
    """
    try:
        image, name = _open_checked(data, max_pixels)
        if name == "JPEG":
            image.draft("RGB", (STORED_SIDE, STORED_SIDE))
        image.load()
        upright = ImageOps.exif_transpose(image)
        upright.thumbnail((STORED_SIDE, STORED_SIDE), Image.Resampling.LANCZOS)
        return StoredPhoto(save_image(upright, name), name.lower())
    except PhotoError:
        raise
    except _BROKEN as error:
        raise PhotoError("Invalid format: the file is not an image that we know.") from error


def crop_photo(data: bytes, box: Box) -> bytes:
    """A square or other part of a stored photo, at most as large as an avatar.

    Raises:
        PhotoError: the part lies outside of the photo.
    """
    image = Image.open(BytesIO(data), formats=FORMATS)
    name = image.format or "PNG"
    if (box.width, box.height) == (0, 0):
        side = min(image.size)
        box = Box((image.width - side) // 2, (image.height - side) // 2, side, side)
    if not box.fits(image.size):
        raise PhotoError("The part lies outside of the photo.")
    part = image.crop((box.x, box.y, box.x + box.width, box.y + box.height))
    part.thumbnail((AVATAR_SIDE, AVATAR_SIDE), Image.Resampling.LANCZOS)
    return save_image(part, name)


def render_photo(data: bytes, size: int) -> bytes:
    """The middle of a stored photo as a square of ``size`` pixels, in the photo's format."""
    image = Image.open(BytesIO(data), formats=FORMATS)
    name = image.format or "PNG"
    square = ImageOps.fit(_plain(image, name), (size, size), Image.Resampling.LANCZOS)
    return save_image(square, name)


def photo_size(data: bytes) -> tuple[int, int]:
    """Width and height of a stored photo."""
    return Image.open(BytesIO(data), formats=FORMATS).size


def image_format(data: bytes) -> str | None:
    """The subtype of the media type of an image file, ``None`` where it is none of ours."""
    try:
        return (Image.open(BytesIO(data), formats=FORMATS).format or "").lower() or None
    except _BROKEN:
        return None


def save_image(image: Image.Image, name: str) -> bytes:
    """The file of an image in one of the formats."""
    file = BytesIO()
    _plain(image, name).save(file, name, quality=QUALITY)
    return file.getvalue()


def _open_checked(data: bytes, max_pixels: int) -> tuple[Image.Image, str]:
    with warnings.catch_warnings():
        # The limit below is ours and stricter; Pillow's own would only tell of it.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(BytesIO(data), formats=FORMATS)
    # Only the header was read: a bomb is refused before it is unpacked.
    if image.width * image.height > max_pixels or max(image.size) > MAX_FILE_SIDE:
        raise PhotoError("Image dimensions are too big.")
    return image, image.format or "PNG"


def _plain(image: Image.Image, name: str) -> Image.Image:
    mode = "RGB" if name == "JPEG" or not image.has_transparency_data else "RGBA"
    return image if image.mode == mode else image.convert(mode)
