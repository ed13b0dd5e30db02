"""README.md and docs/: size, list of pages, links, and the commands in them."""

import ast
import functools
import importlib
import re
import shlex
from urllib.parse import unquote

import pytest

from tests.support import ROOT, call

PAGES = {
    "start",
    "theory",
    "training",
    "your-own-model",
    "packed",
    "sweeps",
    "statistics",
    "experiments",
    "speed",
    "guarantees",
    "faq",
    "glossary",
}
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RESULTS = [*sorted((ROOT / "results").glob("*.md")), ROOT / "results" / "experiments" / "README.md"]
LINKED = [*TEXTS, ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", *RESULTS]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^][]*\]\(([^()\s]+)\)")
PROGRAMS = {"train": "train.py", "analyze": "analyze.py", "test": "test.py", "download": "data/download.py"}
PROGRAM = r"(train|analyze|test|data/download|(?:tools|benchmarks)/\w+)\.py"
COMMAND = re.compile(
    rf"(?:\w+=\S+ )*(?:python (?:{PROGRAM}|-m (experiments\.\w+))|(?:python -m )?bnn (\w+))(?= |$)(.*)"
)

every_text = pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)


def blocks(path, language):
    return [body for found, body in BLOCK.findall(path.read_text()) if found == language]


def commands(path, inline=True):
    """Yield (program, its arguments) for every command of our programs, in code blocks and perhaps in inline code."""
    lines = [line for body in blocks(path, "bash") for line in body.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", BLOCK.sub("", path.read_text())) if inline else []
    for line in lines:
        if match := COMMAND.fullmatch(line.split(" #")[0].strip()):
            file, module, subcommand, arguments = match.groups()
            program = f"{file}.py" if file else PROGRAMS.get(subcommand, f"bnn {subcommand}")
            yield module or program, shlex.split(arguments)


@functools.cache
def help_of(program):
    if not program.endswith(".py"):
        process = call("-m", *program.split(), "--help", cwd=ROOT)
    else:
        process = call(program, "--help")
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_bytes()
    assert text.count(b"\n") <= 100
    assert len(text) <= 7000


def test_the_list_of_pages_is_fixed_and_the_readme_links_to_each():
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} == PAGES
    assert set(re.findall(r"\(docs/([\w-]+)\.md\)", (ROOT / "README.md").read_text())) >= PAGES


@pytest.mark.parametrize("path", LINKED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_target_of_every_link_exists(path):
    for link in LINK.findall(BLOCK.sub("", path.read_text())):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = unquote(link).partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(path):
    """The anchors that GitHub makes from the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", BLOCK.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@every_text
def test_flags_and_values_in_commands_exist(path):
    for program, arguments in commands(path):
        text = help_of(program)
        for i, word in enumerate(arguments):
            flag, *value = word.split("=") if word.startswith("--") else (word,)
            if word.startswith("--"):
                assert re.search(rf"{flag}\b", text), f"{program} {flag}"
                choices = re.search(rf"{flag} {{([^}}]*)}}", text)
                value = value or arguments[i + 1 : i + 2]
                assert not choices or set(value) <= set(re.sub(r"\s", "", choices[1]).split(",")), word


@every_text
def test_the_programs_accept_the_commands_in_code_blocks(path):
    names = {program: name for name, program in PROGRAMS.items() if name != "test"}  # test.py takes no flag
    names |= {f"bnn {name}": name for name in ("binarize", "export", "predict", "sweep")}
    for program, arguments in commands(path, inline=False):
        if program in names:
            importlib.import_module(f"bnn.commands.{names[program]}").parse(arguments)


def test_the_pages_have_a_command_of_every_program_and_experiment():
    found = {program for path in TEXTS for program, _ in commands(path)}
    assert {*PROGRAMS.values(), "bnn binarize", "bnn export", "bnn predict", "bnn sweep"} <= found
    experiments = [path for path in (ROOT / "experiments").glob("*.py") if "def main(" in path.read_text()]
    assert {f"experiments.{path.stem}" for path in experiments} <= found


@every_text
def test_targets_of_make_exist(path):
    targets = re.findall(r"^([\w/.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in [*"".join(blocks(path, "bash")).splitlines(), *re.findall(r"`([^`\n]+)`", path.read_text())]:
        if match := re.match(r"make ([\w-]+)", line):
            assert match[1] in targets, line


@every_text
def test_python_code_in_the_pages_can_be_parsed(path):
    for body in blocks(path, "python"):
        ast.parse(body)


def test_tests_that_the_guarantees_name_exist():
    names = re.findall(r"`(test_\w+\.py)`", (ROOT / "docs" / "guarantees.md").read_text())
    assert names
    assert set(names) <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}
