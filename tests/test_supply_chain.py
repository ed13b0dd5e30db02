"""The lock file from which make installs: every package is pinned with hashes, and agrees with requirements*.txt."""

import itertools
import re
import shutil
import subprocess
import tomllib

from packaging.requirements import Requirement
from packaging.version import Version

from tests.support import ROOT

COMMENT = re.compile(r"\s#.*|^#.*", re.MULTILINE)


def pins(name):
    """The requirements in a file: a list of (Requirement, number of hashes)."""
    text = COMMENT.sub("", (ROOT / name).read_text()).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("-r ")]
    return [
        (Requirement(line.split("--hash")[0]), len(re.findall("--hash=sha256:[0-9a-f]{64}", line)))
        for line in lines
    ]


def test_every_package_is_pinned_exactly_and_has_hashes():
    locked = pins("requirements.lock")
    assert len(locked) > 100
    for requirement, hashes in locked:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes, requirement


def test_tests_and_gpus_have_the_same_version_of_jax():
    texts = [(ROOT / f"requirements-{name}.txt").read_text() for name in ("jax", "dev")]
    versions = [re.search(r"^jax(?:\[cuda12\])?==(\S+)", text, re.MULTILINE)[1] for text in texts]
    assert versions[0] == versions[1]


def test_the_lock_has_the_versions_of_the_requirements_files():
    locked = {requirement.name: requirement for requirement, _ in pins("requirements.lock")}
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert pins(name)
        for requirement, _ in pins(name):
            assert locked[requirement.name].specifier == requirement.specifier, (
                f"{requirement}: run make lock"
            )
            assert locked[requirement.name].marker is None


def test_make_requires_hashes_and_wheels(tmp_path):
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    said = subprocess.run(["make", "-n", "setup"], cwd=tmp_path, capture_output=True, text=True, check=True)
    (install,) = (line for line in said.stdout.splitlines() if "pip install" in line)
    assert "--require-hashes -r requirements.lock" in install
    assert "--only-binary :all:" in install


def test_the_lowest_versions_of_the_package_are_those_that_are_tested():
    oldest = {r.name: str(r.specifier).removeprefix("==") for r, _ in pins("requirements-oldest.txt")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (project["optional-dependencies"][name] for name in ("tensorflow", "packed", "onnx", "sweeps"))
    for requirement in map(Requirement, [*project["dependencies"], *itertools.chain(*extras)]):
        assert requirement.specifier.contains(oldest[requirement.name])
        least = str(requirement.specifier).removeprefix(">=")
        assert Version(oldest[requirement.name]) == Version(least), requirement
