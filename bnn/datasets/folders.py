"""A folder of PNG and JPEG files, with one sub-folder per class, as arrays."""

import math
import os
import re

import numpy as np

from bnn.console import note
from bnn.datasets import picture_files
from bnn.datasets.catalog import listing_digest
from bnn.datasets.storing import DataError, sha256_of

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
TEST = 0.1  # fraction of the images that is set aside where the folder has no test images


def read(folder, image_size=(), progress=lambda files, **_: files, class_names=()):
    """Read the images in a folder.

    The folder holds one sub-folder per class, from which a tenth of the images is drawn for tests, always the same; or
    the folders train, test and perhaps val, each with such sub-folders. Hidden files are ignored. The images are gray
    if all files are, else red, green and blue. A line on standard error says what was done to them; see
    `picture_files.read`.

    Args:
        folder: Path.
        image_size: (height, width) to which images are scaled; (): all must have one size.
        progress: function that shows progress, such as `console.progress`.
        class_names: sequence of str, the order of the classes. If these are not the names of the sub-folders: numbers
            in their order, then other names as text.

    Returns:
        (arrays, digests): dict with the arguments of `own.from_arrays`; and the SHA-256 of the listing of the files,
        with that of earlier versions, which differs if they made other images of these files.

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
    images, digests = _pixels(files, image_size, folder, progress)
    arrays = {"class_names": names}
    for part, listed in files.items():
        arrays[f"x_{part}"] = images[part]
        arrays[f"y_{part}"] = np.array([label for _, label in listed], np.int64)
    return arrays if "test" in parts else _with_test(arrays, folder), digests


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
            if file.suffix.lower() not in picture_files.SUFFIXES:
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


def _pixels(files, image_size, folder, progress):
    """Read all pictures.

    Returns:
        (images, digests): dict from part to (n, height, width, channels) uint8, and (digest, earlier digest).
    """
    paths = [path for listed in files.values() for path, _ in listed]
    images, first, sha256, read = None, None, {}, {}
    for i, path in enumerate(progress(paths, unit="image", description="images")):
        picture = picture_files.read(path)
        pixels, first = picture.pixels, first or (path, picture.pixels.shape[:2])
        if image_size:
            pixels = picture_files.scaled(pixels, *image_size)
        elif pixels.shape[:2] != first[1]:
            raise _other_size(path, pixels.shape, *first)
        images = _with_room(images, len(paths), pixels.shape, folder)
        images[i] = pixels
        name = path.relative_to(folder).as_posix()
        sha256[name], read[name] = sha256_of(path), picture
    if said := picture_files.text(remark for picture in read.values() for remark in picture.remarks):
        note(f"{folder}: {said}")
    ends = np.cumsum([len(listed) for listed in files.values()])[:-1]
    parts = dict(zip(files, np.split(images, ends), strict=True))
    return parts, _digests(sha256, read, gray=images.shape[-1] == 1)


def _other_size(path, shape, first, expected):
    return DataError(
        f"{path}: expected {expected[0]} x {expected[1]} pixels as in {first.name}, "
        f"received {shape[0]} x {shape[1]}; scale all with --image_size HEIGHT WIDTH"
    )


def _with_room(images, count, shape, folder):
    """Return an array for all images: gray until the first color image comes, which makes all color."""
    if images is not None and images.shape[-1] >= shape[-1]:
        return images
    _expect_memory(count * math.prod(shape), folder)
    if images is None:
        return np.empty((count, *shape), np.uint8)
    return np.repeat(images, shape[-1], axis=-1)


def _digests(sha256, read, gray):
    """Return the digest of the data, and the one that earlier versions gave the same files.

    The two differ where other pixels are made of the files: earlier versions left out transparency and orientation,
    and made gray pictures color if they had an alpha channel or a palette.
    """
    names = {}
    for name, picture in read.items():
        marks = sorted(picture.remarks - {"frames"}) + ["gray"] * (gray and not picture.plain)
        names[f"{name} ({', '.join(marks)})" if marks else name] = sha256[name]
    return listing_digest(names), listing_digest(sha256)


def _expect_memory(size, folder):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise DataError(
            f"{folder}: expected images of at most {memory:,} bytes, the memory of this machine, "
            f"received {size:,}; scale them with --image_size HEIGHT WIDTH"
        )


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
