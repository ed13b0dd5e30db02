"""A folder of PNG and JPEG files, with one sub-folder per class, as arrays."""

import math
import os

import numpy as np

from bnn.console import note, silent
from bnn.console.spelling import either
from bnn.datasets import layout, picture_files
from bnn.datasets.catalog import listing_digest
from bnn.datasets.splits import set_aside
from bnn.datasets.storing import DataError, sha256_of

TEST = 0.1  # fraction of the images that is set aside where the folder has no test images


def read(folder, image_size=(), progress=silent, class_names=(), stratified=True):
    """Read the images in a folder.

    The folder holds one sub-folder per class; or folders train, perhaps val, and perhaps test, each with such
    sub-folders (other usual names: `layout.PARTS`). Without test images, a tenth of the training images is drawn for
    tests, always the same. The images are gray if all files are, else red, green and blue. Lines on standard error say
    what was left out, and what was done to the images; see `picture_files.read`.

    Args:
        folder: Path.
        image_size: (height, width) to which images are scaled; (): all must have one size.
        progress: function that shows progress, such as `console.progress`.
        class_names: sequence of str, the order of the classes; see `layout.find`.
        stratified: bool, whether test images are drawn by class; see `splits.set_aside`.

    Returns:
        (arrays, digests): dict with the arguments of `own.from_arrays`; and the SHA-256 of the listing of the files,
        with that of earlier versions, which differs if they made other images of these files.

    Raises:
        DataError: the folder holds no classes, or other folders or files than `layout.find` takes, damaged images, or
            images of different sizes.
    """
    found = layout.find(folder, class_names)
    if found.left_out:
        note(f"{folder}: {found.left_out}")
    images, digests = _pixels(found, image_size, folder, progress)
    arrays = {"class_names": found.class_names}
    for part, listed in found.files.items():
        arrays[f"x_{part}"] = images[part]
        arrays[f"y_{part}"] = np.array([label for _, label in listed], np.int64)
    if "test" in images:
        return arrays, digests
    if found.in_parts:
        note(f"{folder}: no folder of test images; a tenth of the training images is set aside for tests")
    return _with_test(arrays, folder, stratified), digests


def _pixels(found, image_size, folder, progress):
    """Read all pictures.

    Returns:
        (images, digests): dict from part to (n, height, width, channels) uint8, and (digest, earlier digest).
    """
    paths = [path for listed in found.files.values() for path, _ in listed]
    images, first, read = None, None, {}
    for i, path in enumerate(progress(paths, unit="image", description="images")):
        picture = picture_files.read(path)
        pixels, first = picture.pixels, first or (path, picture.pixels.shape[:2])
        if image_size:
            pixels = picture_files.scaled(pixels, *image_size)
        elif pixels.shape[:2] != first[1]:
            raise _other_size(path, pixels.shape, *first)
        images = _with_room(images, len(paths), pixels.shape, folder)
        images[i] = pixels
        read[path] = sha256_of(path), picture.remarks, picture.plain
    if said := picture_files.text(remark for _, remarks, _ in read.values() for remark in remarks):
        note(f"{folder}: {said}")
    ends = np.cumsum([len(listed) for listed in found.files.values()])[:-1]
    parts = dict(zip(found.files, np.split(images, ends), strict=True))
    return parts, _digests(folder, read, found.earlier, gray=images.shape[-1] == 1)


def _other_size(path, shape, first, expected):
    return DataError(
        f"{path}: expected {expected[0]} x {expected[1]} pixels as in {first.name}, "
        f"received {shape[0]} x {shape[1]}; scale all with {_image_size()}"
    )


def _image_size():
    return either("--image_size HEIGHT WIDTH", "image_size=(HEIGHT, WIDTH)")


def _with_room(images, count, shape, folder):
    """Return an array for all images: gray until the first color image comes, which makes all color."""
    if images is not None and images.shape[-1] >= shape[-1]:
        return images
    _expect_memory(count * math.prod(shape), folder)
    if images is None:
        return np.empty((count, *shape), np.uint8)
    return np.repeat(images, shape[-1], axis=-1)


def _digests(folder, read, earlier, gray):
    """Return the digest of the data, and the one that earlier versions gave the same files.

    The two differ where other data are made of the files. Earlier versions left out transparency, orientation and
    some folders, and made gray pictures color if they had an alpha channel or a palette.
    """
    now, before = {}, {}
    for path, (sha256, remarks, plain) in read.items():
        name = path.relative_to(folder).as_posix()
        marks = sorted(remarks - {"frames"}) + ["gray"] * (gray and not plain)
        now[f"{name} ({', '.join(marks)})" if marks else name] = sha256
        if path in earlier:
            before[name] = sha256
    return listing_digest(now), listing_digest(before)


def _expect_memory(size, folder):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise DataError(
            f"{folder}: expected images of at most {memory:,} bytes, the memory of this machine, "
            f"received {size:,}; scale them with {_image_size()}"
        )


def _with_test(arrays, folder, stratified):
    """Draw the test images, the same for every seed, so that runs are tested on the same images."""
    images, labels = arrays["x_train"], arrays["y_train"]
    if len(labels) < 3:
        raise DataError(
            f"{folder}: expected at least 3 images, one each to train, validate and test, received {len(labels)}"
        )
    test, train = set_aside(labels, max(1, round(TEST * len(labels))), 0, stratified)
    return arrays | {
        "x_train": images[train],
        "y_train": labels[train],
        "x_test": images[test],
        "y_test": labels[test],
    }
