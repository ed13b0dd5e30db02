"""One PNG or JPEG file as pixels: upright, without transparency, gray or red, green and blue."""

import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

from bnn.datasets.storing import DataError

SUFFIXES = {".png", ".jpg", ".jpeg"}
FORMATS = ("PNG", "JPEG")
GRAY, COLOR = (
    {"1", "L", "LA"},
    {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"},
)  # Pillow's modes of 8 bits or less
DEPTH = 24  # position of the bits per channel in a PNG file
# What was done to a picture, in the words that follow the number of pictures.
REMARKS = {
    "transparent": "with transparency, composed on white",
    "turned": "turned upright by EXIF orientation",
    "frames": "with several frames, the first taken",
}
_TURN = Image.Transpose
# From the EXIF orientation to what makes a picture upright. `ImageOps.exif_transpose` does the same, but fails where
# the rest of the EXIF data is damaged.
TURNS = {
    2: _TURN.FLIP_LEFT_RIGHT,
    3: _TURN.ROTATE_180,
    4: _TURN.FLIP_TOP_BOTTOM,
    5: _TURN.TRANSPOSE,
    6: _TURN.ROTATE_270,
    7: _TURN.TRANSVERSE,
    8: _TURN.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class Picture:
    """The pixels of a file.

    Attributes:
        pixels: (height, width, channels) uint8 array: one channel if the file is gray, else red, green and blue.
        remarks: frozenset of keys of `REMARKS`.
        plain: bool, whether Pillow calls it gray or color as well: gray with an alpha channel is color to Pillow, and
            so is a palette of grays.
    """

    pixels: np.ndarray
    remarks: frozenset[str]
    plain: bool


def read(path):
    """Read a PNG or JPEG file.

    Transparent parts become white, and the EXIF orientation is applied. Of several frames, the first is taken. A
    palette of grays is gray.

    Args:
        path: Path.

    Returns:
        Picture

    Raises:
        DataError: the file is of another kind, damaged, or has more than 8 bits per channel.
    """
    with _opened(path) as picture:
        try:
            return _decoded(picture)
        except Exception as error:  # of Pillow and zlib
            raise _damaged(path, error) from None


def scaled(pixels, height, width):
    """Scale (height, width, channels) uint8 pixels, bilinear, each channel by itself."""
    if pixels.shape[:2] == (height, width):
        return pixels
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), Image.Resampling.BILINEAR)
        for plane in np.moveaxis(pixels, -1, 0)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def text(counts):
    """Say in how many pictures each of `REMARKS` was found, from a Counter; an empty text if there is none."""
    counts = Counter(counts)
    said = [f"{counts[key]:,} {words}" for key, words in REMARKS.items() if counts[key]]
    return f"images: {'; '.join(said)}" if said else ""


def _opened(path):
    """Open a picture and read only its header."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is damaged is refused, or does not matter
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(path, formats=FORMATS)
        depth = _png_depth(path) if picture.format == "PNG" else 8
    except Image.DecompressionBombWarning as error:
        raise DataError(f"{path}: expected an image of usual size, received a larger one ({error})") from None
    except Exception as error:  # of Pillow, which may be any
        raise _damaged(path, error) from None
    if depth > 8 or picture.mode not in GRAY | COLOR:
        picture.close()
        received = f"{depth} bits" if depth > 8 else f"the mode {picture.mode}"
        raise DataError(f"{path}: expected 8 bits per channel, received {received}")
    if depth in (2, 4) and picture.mode == "L" and "transparency" in picture.info:
        # Pillow scales the pixels to 255, but not the gray value that stands for transparent.
        picture.info["transparency"] *= 255 // (2**depth - 1)
    return picture


def _png_depth(path):
    """The bits per channel. Pillow's modes do not tell them: it cuts 16-bit colors to 8."""
    with path.open("rb") as file:
        return file.read(DEPTH + 1)[DEPTH]


def _decoded(picture):
    remarks, gray = set(), picture.mode in GRAY
    plain = picture.mode != "LA"
    if getattr(picture, "n_frames", 1) > 1:
        remarks.add("frames")
    turn = TURNS.get(_orientation(picture))
    if picture.has_transparency_data:
        opaque = picture.convert("RGBA")
        if opaque.getextrema()[3][0] < 255:
            remarks.add("transparent")
            opaque = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
        opaque = opaque.convert("RGB")
    else:
        opaque = picture.convert("L" if gray else "RGB")
    if turn is not None:
        remarks.add("turned")
        opaque = opaque.transpose(turn)
    pixels = np.asarray(opaque).reshape(opaque.height, opaque.width, -1)
    if picture.mode.startswith("P") and (pixels == pixels[..., :1]).all():
        gray, plain = True, False
    return Picture(pixels[..., :1] if gray else pixels, frozenset(remarks), plain)


def _orientation(picture):
    try:
        with warnings.catch_warnings(action="ignore"):
            return picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF data; the picture itself may be whole
        return None


def _damaged(path, error):
    return DataError(
        f"{path}: expected a PNG or JPEG image, received another or a damaged file ({type(error).__name__})"
    )
