"""Images for a network that is trained: PNG, JPEG and .npy files, in the shape that the network takes."""

from collections import Counter

import numpy as np
from PIL import Image

from bnn.console import note
from bnn.console.spelling import option
from bnn.datasets import own, picture_files
from bnn.datasets.data_set import axes_hint
from bnn.datasets.storing import DataError

SUFFIXES = {*picture_files.SUFFIXES, ".npy"}
PART = 100  # images that are read at a time


def find(paths):
    """List the files that paths name: a file is itself, a folder all its images, also those in sub-folders.

    Args:
        paths: list of Path.

    Returns:
        List of Path. Hidden files in folders are ignored, and so are files of other kinds.

    Raises:
        DataError: a path does not exist, or a folder holds no image.
    """
    return [found for path in paths for found in _files(path)]


def _files(path):
    if not path.exists():
        raise DataError(f"{path}: expected an image or a folder of images, received no such file")
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if _is_image(file.relative_to(path)) and file.is_file())
    if not found:
        raise DataError(f"{path}: expected PNG, JPEG or .npy files, received a folder without any")
    return found


def _is_image(path):
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def parts(paths, shape, resize=False, image_range=own.UNIT):
    """Read images part by part, so that memory does not grow with their number.

    A line on standard error says at the end what was done to pictures, such as composing transparent ones on white.

    Args:
        paths: list of Path of PNG, JPEG and .npy files, or of arrays such as those in .npy files.
        shape: (height, width, channels) of the images that a network takes, or (features,).
        resize: bool, whether to scale images of another size, and to convert color images for a network of gray ones.
        image_range: (low, high), the values of black and white in float images, which become pixels from 0 to 255.
            None: the network takes other numbers than pixels, and .npy files are not changed.

    Yields:
        (names, images): list of str, the path, with the index in a file of several images; and (n, *shape) array,
        1 <= n <= `PART`.

    Raises:
        DataError: a file is of another kind or damaged, or holds images of another shape.
    """
    names, images, remarks, dark = [], [], Counter(), _Darkness()
    for path in paths:
        read = _of_array if isinstance(path, np.ndarray) else _images
        for name, image in read(path, shape, resize, image_range, remarks, dark):
            if len(names) == PART or (images and image.dtype != images[0].dtype):
                yield names, np.stack(images)
                names, images = [], []
            names.append(name)
            images.append(image)
    yield names, np.stack(images)
    if said := picture_files.text(remarks):
        note(said)
    if image_range is not None and (said := own.dark_mask(dark.largest)):
        note(f"images: {said}")


class _Darkness:
    """The largest pixel of all images of whole numbers; 255 stands for other images."""

    largest = 0

    def add(self, image):
        """Look at an image as it is in its file."""
        self.largest = max(self.largest, int(image.max()) if image.dtype.kind in "iu" else 255)


def _images(path, shape, resize, image_range, remarks, dark):
    """Yield (name, image) for every image in a file; count what was done to them, and add their largest pixels."""
    if path.suffix.lower() != ".npy":
        if len(shape) != 3 or shape[-1] not in (1, 3):
            raise DataError(
                f"{path}: expected a .npy file, as the network takes images of {_spelled(shape)}, received another"
            )
        picture = picture_files.read(path)
        remarks.update(picture.remarks)
        dark.add(picture.pixels)
        yield str(path), _fitted(path, picture.pixels, shape, resize)
        return
    yield from _of_array(_mapped(path), shape, resize, image_range, remarks, dark, str(path))


def _of_array(array, shape, resize, image_range, remarks, dark, path="images"):
    """Do the same as `_images` for an array; `path` names it."""
    if (
        len(shape) == 3
        and array.ndim == 3
        and shape[-1] == 3 == array.shape[0]
        and not _is_one(array.shape, shape)
    ):
        raise DataError(
            f"{path}: expected images of {_spelled(shape)}, received {_spelled(array.shape)}: a color image is "
            "np.moveaxis(image, 0, -1), and three gray images are images[..., None]"
        )
    array = _stacked(array, shape)
    if not array.size or array.ndim != 1 + len(shape):
        raise DataError(f"{path}: expected images of {_spelled(shape)}, received {_spelled(array.shape)}")
    for i, image in enumerate(array):
        dark.add(image)
        image = image if image_range is None else own.pixels(path, image, image_range)
        yield f"{path}[{i}]" if len(array) > 1 else path, _fitted(path, image, shape, resize)


def _mapped(path):
    """Return the array of a .npy file without reading more than its header, which must fit the size of the file."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # of numpy, whichever finds the damage
        raise DataError(
            f"{path}: expected a .npy file of images, received another or a damaged one ({type(error).__name__})"
        ) from None


def _stacked(array, shape):
    """Return images with an axis that counts them and, for gray ones, an axis of one channel."""
    if len(shape) == 3 and array.ndim in (2, 3) and not _is_one(array.shape, shape):
        array = array[..., None]
    return array[None] if array.ndim == len(shape) else array


def _is_one(received, shape):
    """Whether a shape is that of one image with channels; other shapes of three axes are those of gray images."""
    channels = {1, 3, shape[-1]}
    like = len(received) == 3 and received[-1] in channels and received[-2:] != shape[:2]
    return like or received == shape


def _fitted(path, image, shape, resize):
    """Return an image in the shape of the network."""
    if len(shape) == 3 and image.ndim == 3:
        image = _with_channels(image, shape[-1], resize)
        if resize and image.shape[-1] == shape[-1]:
            image = _scaled(path, image, shape)
    if image.shape != shape:
        moved = axes_hint((1, *image.shape), shape)
        hint = moved or ("" if resize or len(shape) != 3 else f"; {option('resize')} scales and converts it")
        raise DataError(
            f"{path}: expected images of {_spelled(shape)}, received {_spelled(image.shape)}{hint}"
        )
    return image


def _with_channels(image, channels, convert):
    """Return gray as equal red, green and blue, and such as gray; other colors as gray only with `convert`."""
    if (image.shape[-1], channels) == (1, 3):
        return np.repeat(image, 3, axis=-1)
    if (image.shape[-1], channels) == (3, 1):
        if (image == image[..., :1]).all():
            return image[..., :1]
        if convert and image.dtype == np.uint8:
            return np.asarray(Image.fromarray(image).convert("L"))[..., None]
    return image


def _scaled(path, image, shape):
    """Scale an image as `--image_size` scales those of a folder."""
    height, width, _ = shape
    if image.shape == shape:
        return image
    if image.dtype != np.uint8:
        raise DataError(f"{path}: expected uint8 pixels to scale, received {image.dtype}")
    return picture_files.scaled(image, height, width)


def _spelled(shape):
    return " x ".join(map(str, shape)) or "no axes"
