"""Transfers from servers and registries that hang, send too slowly or send too much."""

import os
import subprocess

import pytest

from bnn.datasets import sources
from bnn.datasets.sources import SourceError, fetch_package, fetch_url, watched
from tests.corruption import within
from tests.misbehaving_server import (
    CHUNKED,
    FOUND,
    OK,
    endless,
    late_redirect,
    silent,
    slowly,
    stall,
    status,
    whole,
)
from tests.toy_data_sets import names_in


@pytest.fixture
def limits(monkeypatch):
    """A function that shortens the limits of time."""

    def limits(first=0.5, pace=0.3):
        monkeypatch.setattr(sources, "FIRST_S", first)
        monkeypatch.setattr(sources, "PACE_S", pace)

    return limits


# ---- any command ----


@pytest.fixture
def watch(tmp_path):
    """A function that runs a shell script as a transfer; it returns the exit code and the standard error."""

    def watch(script, limit=10**6):
        with within(20):
            return watched(["sh", "-c", script], tmp_path, limit, "what")

    return watch


def ended(watch, script, limit=10**6):
    """Check that the script is ended at once, together with the process that it starts; return the reason."""
    with pytest.raises(SourceError) as caught:
        watch(f"sleep 600 & {script}", limit)
    return str(caught.value)


def test_a_transfer_without_a_first_byte_is_ended(watch, limits):
    limits()
    assert ended(watch, "sleep 600") == "expected a first byte within 0.5 s, received none"


def test_a_transfer_that_becomes_slow_is_ended(watch, limits):
    limits(first=10)
    for slow in ("sleep 600", "while sleep 0.1; do printf 0 >> f; done"):
        reason = ended(watch, f"head -c 5000 /dev/zero > f; {slow}")
        assert reason.startswith("expected at least 1,000 bytes per second, received ")


def test_a_slow_transfer_that_makes_progress_is_not_ended(watch, limits):
    limits(first=5, pace=0.5)
    assert watch("for i in 1 2 3 4 5 6 7; do head -c 500 /dev/zero >> f; sleep 0.1; done") == (0, [])


def test_another_attempt_starts_again(watch, limits):
    """The speed counts from the start of the attempt, and so does the limit for its first byte."""
    limits(first=2, pace=0.6)
    assert watch("head -c 9000 /dev/zero > f; sleep 0.4; : > f; sleep 0.4; head -c 9 /dev/zero > f")[0] == 0


@pytest.mark.parametrize("script", ["truncate -s 1T f", "mkdir -p a/b; truncate -s 1T a/b/c", "yes >&2"])
def test_a_transfer_that_stores_too_much_is_ended(script, watch):
    assert ended(watch, f"{script}; sleep 600", 1000) == "expected at most 1,000 bytes, received more"


def test_a_transfer_that_stored_too_much_before_it_was_seen_is_refused(watch):
    with pytest.raises(SourceError, match="expected at most 1,000 bytes"):
        watch("truncate -s 1001 f", 1000)


# ---- files at a URL ----

BODY = bytes(range(256)) * 40


@pytest.fixture
def fetch(server, tmp_path):
    """A function that fetches a file from a server with a habit; it returns the content or the error message."""
    server.files["file"] = BODY

    def fetch(habit=whole, limit=50_000):
        server.misbehave(habit)
        try:
            with within(20):
                fetch_url(f"{server.url}file", tmp_path / "file", limit)
        except SourceError as error:
            assert names_in(tmp_path) == [] and len(str(error).splitlines()) == 1
            return str(error)
        return (tmp_path / "file").read_bytes()

    return fetch


def test_a_file_is_fetched(fetch, tmp_path):
    assert fetch() == BODY
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("habit", "reason"),
    [
        (status(404), "file: expected HTTP status 200, received 404"),
        (endless, "file: expected at most 50,000"),
    ],
)
def test_a_failure_names_the_file(habit, reason, fetch):
    assert fetch(habit).startswith(reason)


@pytest.mark.parametrize(
    "habit",
    [
        silent,
        slowly(OK + b"X-A: ", b"a"),
        slowly(FOUND + b"Location: /", b"a"),
        late_redirect,
        slowly(CHUNKED + b"5;", b"a"),
    ],
    ids=["silence", "header", "redirect", "redirects", "chunk extension"],
)
def test_an_answer_without_a_first_byte_is_not_requested_again(habit, limits, fetch, server):
    limits(first=1)
    assert fetch(habit) == "file: expected a first byte within 1 s, received none"
    assert len(server.requests) <= 1 or habit is late_redirect


@pytest.mark.parametrize(
    "habit",
    [
        stall,
        slowly(OK + b"\r\n", b"\x1f"),
        slowly(CHUNKED, b"1\r\n\x1f\r\n"),
        slowly(CHUNKED + b"BODY0\r\nX-A: ", b"a"),
    ],
    ids=["stall", "body", "chunks", "trailer"],
)
def test_bodies_that_are_too_slow_are_not_requested_again(habit, limits, fetch, server):
    limits(first=10)
    assert fetch(habit).startswith("file: expected at least 1,000 bytes per second, received ")
    assert server.requests == ["file"]


def test_a_server_that_never_accepts_a_connection_is_given_up(deaf, limits, tmp_path):
    limits(first=0.6)
    with pytest.raises(SourceError, match="expected a first byte within "):
        fetch_url(f"{deaf}file", tmp_path / "file", 100)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_no_fault_of_the_source(fetch, tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(OSError, match="Permission denied"):
        fetch()


# ---- packages ----


@pytest.fixture
def pack(npm, tmp_path):
    """A function that fetches a package and returns its content or the error message."""

    def pack(script=None, limit=1000):
        if script:
            npm.does(script)
        target = tmp_path / "stage" / "toy.tgz"
        target.parent.mkdir(exist_ok=True)
        try:
            with within(20):
                fetch_package("toy@1.0.0", target, limit)
        except SourceError as error:
            assert names_in(target.parent) == []
            assert len(str(error).splitlines()) == 1
            return str(error)
        assert names_in(target.parent) == ["toy.tgz"]
        return target.read_bytes()

    return pack


def test_npm_sees_the_settings_of_the_user_and_keeps_its_cache_in_the_staging_folder(
    pack, npm, tmp_path, monkeypatch
):
    monkeypatch.setenv("npm_config_registry", "http://registry.example")
    said = pack('echo "$npm_config_registry" "$HOME" "$PWD" > toy.tgz; echo toy.tgz').decode().split()
    assert said == ["http://registry.example", os.environ["HOME"], f"{tmp_path}/stage/transfer"]
    args = npm.calls.read_text().split()
    assert args[0] == "pack" and args[-1] == "toy@1.0.0" and "--ignore-scripts" in args
    assert args[args.index("--cache") + 1].startswith(str(tmp_path / "stage"))


FAILURES = {
    "exit": (
        "echo 'npm error code E404' >&2; echo 'npm error 404 Not Found' >&2; exit 7",
        "expected npm to exit with 0, received 7 (code E404, 404 Not Found)",
    ),
    "silent exit": ("exit 1", "expected npm to exit with 0, received 1"),
    "killed": ("kill -9 $$", "expected npm to exit with 0, received 137"),
    "strange text": (r"printf '\377\000\033[31m\n\n' >&2; exit 1", "expected npm to exit with 0, received 1"),
    "much text": (
        "head -c 3000000 /dev/zero | tr '\\0' e >&2; exit 1",
        "expected npm to exit with 0, received 1 (eee",
    ),
    "prints": ("echo contents", "expected npm to write one .tgz file, received 0"),
    "two": ("echo x > a.tgz; echo x > b.tgz", "expected npm to write one .tgz file, received 2"),
    "link": ("ln -s /etc/passwd toy.tgz", "expected npm to write one .tgz file, received 0"),
    "pipe": ("mkfifo toy.tgz", "expected npm to write one .tgz file, received 0"),
    "folder": ("mkdir toy.tgz", "expected npm to write one .tgz file, received 0"),
    "large": ("truncate -s 1001 toy.tgz", "expected at most 1,000 bytes, received more"),
    "enormous": ("truncate -s 1T toy.tgz; sleep 600", "bytes, received more"),
}


@pytest.mark.parametrize(("script", "reason"), FAILURES.values(), ids=FAILURES)
def test_each_failure_of_npm_is_one_line(script, reason, pack):
    assert reason in pack(script)


def test_missing_npm_is_an_error(no_npm, tmp_path):
    with pytest.raises(SourceError, match="expected npm on the PATH, received none"):
        fetch_package("toy@1.0.0", tmp_path / "toy.tgz", 1000)


@pytest.mark.parametrize("content", [b"\x7fELF no program", b"#!/no/such/interpreter\n"])
def test_npm_that_cannot_be_executed_is_an_error(content, pack, npm):
    npm.write(content)
    assert "expected npm to exit with 0, received " in pack()


# ---- no process is left ----


def test_npm_that_hangs_is_ended_with_all_processes_that_it_started(pack, npm, limits):
    limits()
    npm.hangs()
    assert pack() == "expected a first byte within 0.5 s, received none"
    npm.assert_gone()


def test_a_process_that_npm_leaves_running_is_ended(pack, npm):
    assert pack("sleep 600 & echo $! $$ > {pids}; echo x > toy.tgz") == b"x\n"
    npm.assert_gone()


def test_an_interrupt_ends_npm(pack, npm, monkeypatch):
    def interrupt(_):
        npm.started()
        raise KeyboardInterrupt

    npm.hangs()
    monkeypatch.setattr(sources, "_bytes_below", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pack()
    npm.assert_gone()


def test_an_interrupt_while_npm_starts_ends_npm(pack, npm, tmp_path, monkeypatch):
    """`Popen` does not return, and the process that it started ends by itself."""
    start = subprocess.Popen._execute_child

    def interrupted(*args):
        start(*args)
        npm.started()
        raise KeyboardInterrupt

    npm.hangs()
    monkeypatch.setattr(subprocess.Popen, "_execute_child", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack()
    npm.assert_gone()
    assert names_in(tmp_path / "stage") == []
