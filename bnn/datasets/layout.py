"""Which files of a folder are images of which part and class, and which are left out."""

import re
from dataclasses import dataclass, field

from bnn.datasets import picture_files
from bnn.datasets.storing import DataError

# The usual names of the folders of each part, in any case.
PARTS = {"train": "train|training", "val": "val|valid|validation|dev", "test": "test|tests|testing"}
NAMES = {part: re.compile(f"({names})([ _-]?set)?", re.IGNORECASE) for part, names in PARTS.items()}
LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}  # of operating systems
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
FEW = 10  # names in a message


@dataclass
class LeftOut:
    """Counts what is no image of a class."""

    hidden: int = 0
    images: int = 0
    files: int = 0
    folders: list = field(default_factory=list)

    def __str__(self):
        counted = {
            "hidden files or folders": self.hidden,
            "images beside the folders": self.images,
            "other files beside the folders": self.files,
            "folders without images": len(self.folders),
        }
        said = ", ".join(f"{what}: {n}" for what, n in counted.items() if n)
        names = f" ({_listed(self.folders)})" if self.folders else ""
        return f"left out {said}{names}" if said else ""


@dataclass(frozen=True)
class Layout:
    """The images of a folder.

    Attributes:
        class_names: list of str.
        files: dict from part, "train" and perhaps "val" and "test", to a list of (Path, label), sorted by label.
        left_out: str, what was left out; "" if nothing was.
        in_parts: bool, whether the folder has folders of parts.
        earlier: set of Path, the files that earlier versions read.
    """

    class_names: list
    files: dict
    left_out: str
    in_parts: bool
    earlier: set


def find(folder, class_names=()):
    """Find the images of a folder: one sub-folder per class, or such folders in folders with usual names of parts.

    Args:
        folder: Path.
        class_names: sequence of str, the order of the classes. If these are not the names of the sub-folders: numbers
            in their order, then other names as text.

    Returns:
        Layout. A class folder without images in any part is no class, unless `class_names` contains it.

    Raises:
        DataError: the folder holds no classes, more than one folder for a part, a class that is not in the folder of
            training images, another folder with images, or a file or folder in a class that is no image.
    """
    left_out = LeftOut()
    parts = _parts(folder, left_out)
    classes = {part: _classes(path, left_out) for part, path in parts.items()}
    trained = classes["train"]
    for part, found in classes.items():
        if not any(found.values()):
            alone = not found and any(map(_is_image, parts[part].iterdir()))
            received = "images without sub-folders" if alone else "no images"
            raise DataError(
                f"{parts[part]}: expected one sub-folder of PNG or JPEG files per class, received {received}"
            )
        for name in found:
            if found[name] and name not in trained:
                raise DataError(
                    f"{parts[part] / name}: expected one of the classes {_listed([*trained])}, received another"
                )
    full = {name for found in classes.values() for name, files in found.items() if files}
    names = _in_order(full, {*trained}, class_names)
    empty = {name for found in classes.values() for name in found} - {*names}
    left_out.folders += sorted(empty, key=_place)
    files = {
        part: [(file, label) for label, name in enumerate(names) for file in found.get(name, ())]
        for part, found in classes.items()
    }
    named_before = [part for part in files if parts[part].name == part or parts[part] == folder]
    earlier = {file for part in named_before for file, _ in files[part]}
    return Layout(names, files, str(left_out), parts["train"] != folder, earlier)


def _parts(folder, left_out):
    """Return a dict from part to folder; a folder with only classes is that of the training images."""
    folders = _folders(_entries(folder))
    named = {
        part: [path for path in folders if pattern.fullmatch(path.name)] for part, pattern in NAMES.items()
    }
    if not any(_folders(_entries(path)) for paths in named.values() for path in paths):
        # They may be classes: there are trains in many data sets.
        if folders and len(folders) == sum(map(len, named.values())):
            raise DataError(
                f"{folders[0]}: expected one sub-folder of PNG or JPEG files per class, received none"
            )
        return {"train": folder}
    for part, paths in named.items():
        if len(paths) > 1:
            raise DataError(
                f"{folder}: expected one folder {part}, received {_listed(p.name for p in paths)}; keep one of them "
                f"there, and move the images of the others into it or away"
            )
    parts = {part: paths[0] for part, paths in named.items() if paths}
    if "train" not in parts:
        received = _listed(path.name for path in parts.values())
        first = next(iter(parts.values()))
        hint = (
            f"name the folder of the images to train on train, or give {first}, of which parts are set aside"
        )
        raise DataError(f"{folder}: expected a folder train, received {received} without it; {hint}")
    others = [path for path in folders if path not in parts.values()]
    for path in others:
        _expect_no_images(path, "train, val and test alone", f"a further folder of images, {path.name}")
    left_out.folders += [path.name for path in others]
    _count_files(_entries(folder, left_out), left_out)
    return parts


def _classes(folder, left_out):
    """Return a dict from the name of each class folder to its images, sorted."""
    entries = _entries(folder, left_out)
    _count_files(entries, left_out)
    folders, classes = _folders(entries), {}
    for path in folders:
        files = []
        for file in _entries(path, left_out):
            if file.is_dir():
                hint = f"; did you mean {path}/?" if len(folders) == 1 else ""
                _expect_no_images(file, "PNG or JPEG files alone in a class", f"a folder of images{hint}")
                left_out.folders.append(f"{path.name}/{file.name}")
            elif not _is_image(file):
                raise DataError(f"{file}: expected PNG or JPEG files alone, received another file")
            else:
                files.append(file)
        classes[path.name] = files
    return classes


def _entries(folder, left_out=None):
    """Return what a folder holds, sorted, without hidden files and litter, which are counted."""
    entries = sorted(folder.iterdir())
    kept = [path for path in entries if not (path.name.startswith(".") or path.name in LITTER)]
    if left_out is not None:
        left_out.hidden += len(entries) - len(kept)
    return kept


def _folders(entries):
    return [path for path in entries if path.is_dir()]


def _count_files(entries, left_out):
    """Count the files beside folders."""
    files = [path for path in entries if not path.is_dir()]
    images = sum(map(_is_image, files))
    left_out.images += images
    left_out.files += len(files) - images


def _is_image(path):
    return path.suffix.lower() in picture_files.SUFFIXES


def _expect_no_images(folder, expected, received):
    """Raise `DataError` if a folder holds images, also in its sub-folders."""
    if any(map(_is_image, folder.rglob("[!.]*"))):
        raise DataError(f"{folder}: expected {expected}, received {received}")


def _in_order(full, trained, class_names):
    """Return the names of classes, in the order of `class_names` if it has the same names."""
    given = {*class_names}
    if given in (full, trained):
        return list(class_names)
    return sorted(full, key=_place)


def _place(name):
    """The key that sorts names that are numbers as numbers, before other names."""
    return (0, float(name), name) if NUMBER.fullmatch(name) else (1, 0.0, name)


def _listed(names):
    names = list(names)
    return ", ".join(names[:FEW]) + (", ..." if len(names) > FEW else "")
