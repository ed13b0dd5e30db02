"""bnn completion: the printed script completes commands, flags and values in a real shell."""

import subprocess
import sys

import pytest

from bnn.__main__ import COMMANDS
from bnn.commands import completion
from bnn.console.errors import UserError

TYPED = [("bnn", ""), ("bnn", "ana"), ("bnn", "train", "--sched"), ("bnn", "train", "--schedule", "")]


def test_bash_completes_commands_flags_and_values(tmp_path, capsys):
    pytest.importorskip("shtab")
    completion.main(["bash"])
    script = tmp_path / "bnn.bash"
    script.write_text(capsys.readouterr().out)
    lines = [f"source {script}"]
    for words in TYPED:
        quoted = " ".join(f"'{word}'" for word in words)
        lines += [f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1} COMPREPLY=()"]
        lines += [f"_shtab_bnn bnn '{words[-1]}' '{words[-2]}'", 'echo "${COMPREPLY[@]}"']
    found = subprocess.run(
        ["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert found == [" ".join(COMMANDS), "analyze", "--schedule", "exponential cosine"]


def test_paths_are_completed_as_files_and_every_command_has_its_flags():
    parser = completion._all_commands("FILE")
    commands = next(action.choices for action in parser._actions if action.choices)
    assert list(commands) == list(COMMANDS)
    flags = {name: command._option_string_actions for name, command in commands.items()}
    assert "--log_geometry" in flags["train"] and "--budget" in flags["analyze"]
    assert flags["train"]["--run_dir"].complete == "FILE"
    assert not hasattr(flags["train"]["--epochs"], "complete")


def test_without_shtab_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(UserError, match="expected the package shtab, received none; pip install shtab"):
        completion.main(["zsh"])
