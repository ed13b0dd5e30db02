"""User data: arrays, an .npz file or a folder of images, as a `DataSet`."""

import hashlib
from dataclasses import replace

import numpy as np

from bnn.console import note, silent
from bnn.console.arguments import expanded
from bnn.console.spelling import either
from bnn.datasets import folders, npz_files
from bnn.datasets.catalog import ARRAYS, ENTRIES, USER_READERS, data_folder
from bnn.datasets.data_set import DataSet, Split, is_channels_first
from bnn.datasets.splits import missing, set_aside
from bnn.datasets.storing import DataError, sha256_of

PARTS = {"train": "training", "val": "validation", "test": "test"}
VALIDATION = 0.1  # fraction of the training images that is set aside where no validation images are given
MOST_CLASSES = 65_536  # as many as a network can have
UNIT = (0.0, 1.0)  # black and white in float images


def from_arrays(
    x_train,
    y_train,
    x_test,
    y_test,
    x_val=None,
    y_val=None,
    *,
    class_names=None,
    seed=0,
    image_range=UNIT,
    name=ARRAYS,
    digest=None,
    stratified=True,
):
    """Make a data set of arrays, in the convention of `keras.datasets`.

    A line on standard error names the classes without images in a part.

    Args:
        x_train: (n, height, width) or (n, height, width, channels) array_like: whole numbers from 0 to 255; floats in
            `image_range`, which are rounded to 256 levels; or bool, black and white whatever `image_range` is.
        y_train: (n,) or (n, 1) array_like of whole numbers from 0, or (n, classes) one-hot.
        x_test: as `x_train`.
        y_test: as `y_train`.
        x_val: as `x_train`. None: a tenth of the training images, drawn by the seed; see `splits.set_aside`.
        y_val: as `y_train`; None together with `x_val`.
        class_names: sequence of str in the order of the labels. None: "0", "1", ... up to the largest training label.
        seed: int, draws the validation images.
        image_range: (low, high), the values of black and white in float images.
        name: str, the name of the data set; the path of the user's files.
        digest: str, the SHA-256 of the file that the arrays come from. None: the SHA-256 of the arrays.
        stratified: bool, whether the validation images are drawn by class. False: as in earlier versions.

    Returns:
        DataSet

    Raises:
        DataError: shapes or lengths disagree, a split is empty, an image is not finite or out of range, or a label is
            not one of the classes.
    """
    given = {"train": (x_train, y_train), "val": (x_val, y_val), "test": (x_test, y_test)}
    if (x_val is None) != (y_val is None):
        raise DataError("x_val, y_val: expected both or neither, received one of them")
    given = {part: arrays for part, arrays in given.items() if arrays[0] is not None}
    digest = digest or _digest(given, class_names)
    splits = {part: _split(part, *arrays, image_range) for part, arrays in given.items()}
    class_names = _class_names(class_names, splits["train"].labels, _one_hot_width(y_train))
    for part, split in splits.items():
        _expect_like_training(part, split, splits["train"], len(class_names))
    drawn = None
    if "val" not in splits:
        splits["val"], splits["train"], drawn = _set_aside(splits["train"], seed, stratified)
    parts = (splits[part] for part in PARTS)
    data_set = DataSet(name, digest, False, *parts, class_names, stratified=stratified, drawn=drawn)
    _note_missing(data_set)
    return data_set


def redrawn(data_set, seed):
    """Return a data set with the validation images that another seed draws, without reading it again.

    Args:
        data_set: DataSet of the user's data.
        seed: int.

    Returns:
        DataSet, as reading the same data with this seed gives it; the same one if its validation images were given.
    """
    if data_set.drawn is None:
        return data_set
    count = len(data_set.train) + len(data_set.validation)
    order = np.argsort(np.concatenate([np.setdiff1d(np.arange(count), data_set.drawn), data_set.drawn]))
    pairs = zip(vars(data_set.train).values(), vars(data_set.validation).values(), strict=True)
    given = Split(*(np.concatenate(pair)[order] for pair in pairs))
    validation, train, drawn = _set_aside(given, seed, data_set.stratified)
    data_set = replace(data_set, train=train, validation=validation, drawn=drawn)
    _note_missing(data_set)
    return data_set


def _note_missing(data_set):
    splits = (data_set.train, data_set.validation, data_set.test)
    labels = {what: split.labels for what, split in zip(PARTS.values(), splits, strict=True)}
    if said := missing(labels, data_set.class_names):
        note(f"{data_set.name}: {said}")


def register(name, read):
    """Make a data set of your own format known by a name, for `--data_set`, `bnn.datasets.load` and its runs.

    Args:
        name: str, without a slash; no name of the catalog.
        read: function from the Path of the data folder (see `data_folder`) to a dict of the arrays x_train, y_train,
            x_test, y_test, and if there are any x_val, y_val and class_names; see `from_arrays`.

    Raises:
        DataError: the name is taken, or could be a path; or `read` is no function.
    """
    if (
        not isinstance(name, str)
        or not name
        or "/" in name
        or name.endswith(".npz")
        or name in (*ENTRIES, ARRAYS)
    ):
        raise DataError(f"data_set: expected a new name without a slash or .npz, received {name!r}")
    if not callable(read):
        raise DataError(f"data_set {name}: expected a function that reads it, received {read!r}")
    USER_READERS[name] = read


def load(
    name,
    folder=None,
    *,
    seed=0,
    image_size=(),
    image_range=UNIT,
    progress=silent,
    class_names=(),
    stratified=True,
):
    """Read an .npz file or a folder of images.

    Args:
        name: str, the path. If it does not exist, a file or folder of the same name in the data folder.
        folder: data folder, or None for `data_folder()`.
        seed: int, draws the validation images where none are given.
        image_size: (height, width) to which the images of a folder are scaled; (): they must have one size.
        image_range: (low, high), the values of black and white in float images.
        progress: function that shows progress over the files of a folder, such as `console.progress`.
        class_names: sequence of str, the order of the classes of a folder, see `folders.read`.
        stratified: bool, whether images are set aside by class; see `splits.set_aside`.

    Returns:
        DataSet

    Raises:
        DataError: the file or folder does not exist, or does not hold a data set.
    """
    if name == ARRAYS:
        raise DataError(
            "data: expected the arrays that the run was trained on, received none; "
            "use bnn.resume(..., data=...) or bnn.analyze(run, images)"
        )
    if name in USER_READERS:
        return _registered(name, folder, seed=seed, image_range=image_range, stratified=stratified)
    path = _found(name, folder)
    if path.is_dir():
        arrays, (digest, earlier) = folders.read(path, tuple(image_size), progress, class_names, stratified)
    else:
        arrays, digest, earlier = npz_files.read(path), sha256_of(path), None
    try:
        options = {"seed": seed, "image_range": image_range, "stratified": stratified}
        data_set = from_arrays(**arrays, **options, name=name, digest=digest)
        return replace(data_set, earlier_digest=earlier)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _registered(name, folder, **options):
    arrays = USER_READERS[name](data_folder(folder))
    if not isinstance(arrays, dict) or not {"x_train", "y_train", "x_test", "y_test"} <= {*arrays}:
        raise DataError(
            f"data_set {name}: expected a dict with x_train, y_train, x_test and y_test from its reader, received "
            f"{sorted(map(str, arrays)) if isinstance(arrays, dict) else type(arrays).__name__}"
        )
    try:
        return from_arrays(**arrays, **options, name=name)
    except TypeError as error:
        raise DataError(f"data_set {name}: {error}") from None


def _found(name, folder):
    path = expanded(name)
    elsewhere = data_folder(folder) / path.name
    for place in (path, elsewhere):
        if place.exists():
            return place
    raise DataError(
        f"{path}: expected an .npz file or a folder of images, received no such file or folder; "
        f"neither is it in {elsewhere.parent}"
    )


def _split(part, images, labels, image_range):
    images = np.asarray(images)
    whole = images.dtype.kind in "iu"
    images = _images(f"x_{part}", images, image_range)
    if whole and (said := dark_mask(images.max())):
        note(f"x_{part}: {said}")
    labels = _labels(f"y_{part}", np.asarray(labels))
    if len(images) != len(labels):
        raise DataError(
            f"x_{part}, y_{part}: expected one label per image, received {len(images)} images and "
            f"{len(labels)} labels"
        )
    return Split(images, labels)


def _images(key, images, image_range):
    """Return images as (n, height, width, channels) uint8."""
    if images.ndim not in (3, 4) or 0 in images.shape[1:]:
        raise DataError(
            f"{key}: expected images (n, height, width) or (n, height, width, channels), "
            f"received the shape {images.shape}"
        )
    if images.ndim == 4 and is_channels_first(images.shape[1:]):
        raise DataError(
            f"{key}: expected images (n, height, width, channels), received the shape {images.shape}, whose channels "
            "come first; use np.moveaxis(images, 1, -1)"
        )
    if not len(images):
        raise DataError(f"{key}: expected at least one {PARTS[key[2:]]} image, received an empty split")
    hint = f"; name the range with {either('--image_range LOW HIGH', 'image_range=(LOW, HIGH)')}"
    return pixels(key, images if images.ndim == 4 else images[..., None], image_range, hint)


def dark_mask(largest):
    """Return a line about images of whole numbers whose largest pixel is 1; "" for others."""
    if largest != 1:
        return ""
    return "all pixels are 0 or 1 of 255, nearly black; if 1 means white, give them as bool, or times 255"


def pixels(key, images, image_range, hint=""):
    """Convert images to the pixels that a network is trained on.

    Args:
        key: str, what the images are, for messages.
        images: array of whole numbers from 0 to 255, of floats in `image_range`, or of bool: black and white.
        image_range: (low, high), the values of black and white in floats.
        hint: str, the end of the message about floats outside of it.

    Returns:
        uint8 array of the same shape.

    Raises:
        DataError: the array holds other values.
    """
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind == "b":
        return np.where(images, np.uint8(255), np.uint8(0))
    if images.dtype.kind not in "iuf":
        raise DataError(f"{key}: expected whole numbers or floats, received the dtype {images.dtype}")
    low, high, hint = (*image_range, hint) if images.dtype.kind == "f" else (0, 255, "")
    _expect_between(key, images, low, high, hint)
    return np.rint((images.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)


def _expect_between(key, images, low, high, hint):
    least, most = images.min(), images.max()  # NaN if one value is
    if not np.isfinite(most - least):
        raise DataError(f"{key}: expected finite pixels, received {'NaN' if np.isnan(least) else 'infinity'}")
    if least < low or most > high:
        raise DataError(
            f"{key}: expected pixels from {low:g} to {high:g}, received {least:g} to {most:g}{hint}"
        )


def _labels(key, labels):
    """Return labels as (n,) int64."""
    if labels.dtype.kind not in "biuf" or labels.ndim not in (1, 2):
        raise DataError(
            f"{key}: expected labels (n,) or one-hot (n, classes), received the shape {labels.shape} "
            f"of dtype {labels.dtype}"
        )
    if _one_hot_width(labels):
        if not (((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise DataError(f"{key}: expected one-hot labels, rows with one 1 and zeros, received other rows")
        return labels.argmax(axis=1)
    labels = labels.ravel()
    with np.errstate(invalid="ignore"):  # numbers beyond int64 differ from what they are converted to
        whole = labels.astype(np.int64) if np.isfinite(labels).all() else None
    if whole is None or (whole != labels).any():
        raise DataError(f"{key}: expected whole numbers as labels, received others")
    return whole


def _one_hot_width(labels):
    """Return the number of classes of one-hot labels; 0 for labels that are numbers."""
    shape = np.shape(labels)
    return shape[1] if len(shape) == 2 and shape[1] > 1 else 0


def _class_names(names, labels, width):
    if names is None:
        names = range(width or int(labels.max()) + 1)
        if len(names) > MOST_CLASSES:
            raise DataError(
                f"y_train: expected labels from 0 to at most {MOST_CLASSES - 1}, received {len(names) - 1}"
            )
    elif np.ndim(names) != 1:
        raise DataError(f"class_names: expected a list of names, received the shape {np.shape(names)}")
    names = tuple(name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names)
    if len(names) < 2:
        raise DataError(f"labels: expected at least 2 classes, received {len(names)}")
    if len(set(names)) < len(names):
        raise DataError(f"class_names: expected {len(names)} different names, received {len(set(names))}")
    return names


def _expect_like_training(part, split, training, classes):
    shape, expected = split.images.shape[1:], training.images.shape[1:]
    if shape != expected:
        raise DataError(f"x_{part}: expected images {expected} as in x_train, received {shape}")
    least, most = split.labels.min(), split.labels.max()
    if least < 0 or most >= classes:
        raise DataError(f"y_{part}: expected labels from 0 to {classes - 1}, received {least} to {most}")


def _set_aside(training, seed, stratified):
    """Split training images into (validation, training, places of the former)."""
    if len(training) < 2:
        raise DataError("x_train: expected at least 2 images, one of them for validation, received 1")
    count = max(1, round(VALIDATION * len(training)))
    chosen, left = set_aside(training.labels, count, seed, stratified)
    return training[chosen], training[left], chosen


def _digest(given, class_names):
    digest = hashlib.sha256(repr(None if class_names is None else [*map(str, class_names)]).encode())
    for part, arrays in given.items():
        for array in map(np.asarray, arrays):
            digest.update(f"{part} {array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
