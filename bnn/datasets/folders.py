"""A folder of PNG and JPEG files, with one sub-folder per class, as arrays."""

import os
import re
import warnings

import numpy as np
from PIL import Image

from bnn.datasets.catalog import listing_digest
from bnn.datasets.storing import DataError, sha256_of

SUFFIXES = {".png", ".jpg", ".jpeg"}
FORMATS = ("PNG", "JPEG")
GRAY, COLOR = (
    {"1", "L"},
    {"LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"},
)  # Pillow's modes of 8 bits or less
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
TEST = 0.1  # fraction of the images that is set aside where the folder has no test images


def read(folder, image_size=(), progress=lambda files, **_: files, class_names=()):
    """Read the images in a folder.

    The folder holds one sub-folder per class, from which a tenth of the images is drawn for tests, always the same; or
    the folders train, test and perhaps val, each with such sub-folders. Hidden files are ignored. The images are gray
    if all files are, else red, green and blue.

    Args:
        folder: Path.
        image_size: (height, width) to which images are scaled; (): all must have one size.
        progress: function that shows progress, such as `console.progress`.
        class_names: sequence of str, the order of the classes. If these are not the names of the sub-folders: numbers
            in their order, then other names as text.

    Returns:
        (arrays, digest): dict with the arguments of `own.from_arrays`, and the SHA-256 of the listing of the files.

    Raises:
        DataError: the folder holds no classes, other files or damaged images, or images of different sizes.
    """
    folders = _sub_folders(folder)
    parts = {path.name: path for path in folders}
    parts = {name: parts[name] for name in ("train", "val", "test") if name in parts}
    if not {"train", "test"} <= set(parts):
        parts = {"train": folder}
    names = sorted((path.name for path in _sub_folders(parts["train"])), key=_place)
    if set(class_names) == set(names):
        names = list(class_names)
    files = {part: _files(path, names) for part, path in parts.items()}
    paths = [path for listed in files.values() for path, _ in listed]
    shape, digests = _shape(paths, image_size, folder, progress)
    arrays = {"class_names": names}
    for part, listed in files.items():
        arrays[f"x_{part}"] = _pixels([path for path, _ in listed], shape, progress)
        arrays[f"y_{part}"] = np.array([label for _, label in listed], np.int64)
    return arrays if "test" in parts else _with_test(arrays, folder), listing_digest(digests)


def read_image(path):
    """Read a PNG or JPEG file.

    Args:
        path: Path.

    Returns:
        (height, width, channels) uint8 array: one channel if the file is gray, else red, green and blue.

    Raises:
        DataError: the file is of another kind, damaged, or has more than 8 bits per channel.
    """
    with _opened(path) as picture:
        mode = "L" if picture.mode in GRAY else "RGB"
        return np.asarray(_converted(picture, mode, path)).reshape(picture.height, picture.width, -1)


def _sub_folders(folder):
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _place(name):
    """The key that sorts names that are numbers as numbers, before other names."""
    return (0, float(name), name) if NUMBER.fullmatch(name) else (1, 0.0, name)


def _files(folder, names):
    """Return (path, label) of every image in the sub-folders of a folder."""
    found = []
    for path in _sub_folders(folder):
        if path.name not in names:
            raise DataError(f"{path}: expected one of the classes {_listed(names)}, received another")
        files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
        for file in files:
            if file.suffix.lower() not in SUFFIXES:
                raise DataError(f"{file}: expected PNG or JPEG files alone, received another file")
        found += [(file, names.index(path.name)) for file in files]
    found.sort(key=lambda file: file[1])
    if not found:
        raise DataError(
            f"{folder}: expected one sub-folder of PNG or JPEG files per class, received no images"
        )
    return found


def _listed(names):
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def _shape(paths, image_size, folder, progress):
    """Return (height, width, channels) of all images, and a dict from their relative paths to their SHA-256."""
    sizes, modes, digests = {}, set(), {}
    for path in progress(paths, unit="file", description="sizes"):
        with _opened(path) as picture:
            sizes.setdefault((picture.height, picture.width), path)
            modes.add(picture.mode)
        digests[path.relative_to(folder).as_posix()] = sha256_of(path)
    if len(sizes) > 1 and not image_size:
        (first, one), (other, two) = list(sizes.items())[:2]
        raise DataError(
            f"{two}: expected {first[0]} x {first[1]} pixels as in {one.name}, "
            f"received {other[0]} x {other[1]}; scale all with --image_size HEIGHT WIDTH"
        )
    shape = (*(image_size or next(iter(sizes))), 1 if modes <= GRAY else 3)
    _expect_memory(len(paths) * int(np.prod(shape)), folder)
    return shape, digests


def _expect_memory(size, folder):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise DataError(
            f"{folder}: expected images of at most {memory:,} bytes, the memory of this machine, "
            f"received {size:,}; scale them with --image_size HEIGHT WIDTH"
        )


def _opened(path):
    """Open an image, of which only the header is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombWarning as error:
        raise DataError(f"{path}: expected an image of usual size, received a larger one ({error})") from None
    except Exception as error:  # of Pillow, which may be any
        raise _damaged(path, error) from None
    if picture.mode not in GRAY | COLOR:
        raise DataError(f"{path}: expected 8 bits per channel, received the mode {picture.mode}")
    return picture


def _converted(picture, mode, path):
    try:
        return picture.convert(mode)
    except Exception as error:  # of Pillow and zlib
        raise _damaged(path, error) from None


def _damaged(path, error):
    return DataError(
        f"{path}: expected a PNG or JPEG image, received another or a damaged file ({type(error).__name__})"
    )


def _pixels(paths, shape, progress):
    """Return images (n, height, width, channels) uint8."""
    height, width, channels = shape
    images = np.empty((len(paths), *shape), np.uint8)
    for image, path in zip(images, progress(paths, unit="image", description="images"), strict=True):
        with _opened(path) as picture:
            picture = _converted(picture, "L" if channels == 1 else "RGB", path)
            if picture.size != (width, height):
                picture = picture.resize((width, height), Image.Resampling.BILINEAR)
            image[:] = np.asarray(picture).reshape(shape)
    return images


def _with_test(arrays, folder):
    """Draw the test images, the same for every seed, so that runs are tested on the same images."""
    images, labels = arrays["x_train"], arrays["y_train"]
    if len(labels) < 3:
        raise DataError(
            f"{folder}: expected at least 3 images, one each to train, validate and test, received {len(labels)}"
        )
    order = np.random.default_rng(0).permutation(len(labels))
    count = max(1, round(TEST * len(labels)))
    test, train = np.sort(order[:count]), np.sort(order[count:])
    return arrays | {
        "x_train": images[train],
        "y_train": labels[train],
        "x_test": images[test],
        "y_test": labels[test],
    }
