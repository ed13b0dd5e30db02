"""The child process of a transfer: what it makes of the answers of a server, and that it ends with its parent."""

import importlib.util
import os
import socket
import subprocess
import sys

import pytest

from bnn.datasets import transfer
from bnn.datasets.transfer import SourceError
from tests.corruption import within
from tests.misbehaving_server import (
    CHUNKED,
    CONTINUE,
    ENDLESS_REDIRECT,
    OK,
    announced_in_5000_digits,
    announced_too_long,
    announced_too_short,
    dropped,
    flood,
    garbage,
    in_circles,
    labeled_encoded,
    no_length,
    nothing,
    slowly,
    status,
    to,
)
from tests.stand_in_npm import STUBBORN

BODY = bytes(range(256)) * 40


@pytest.fixture
def fetch(server, tmp_path):
    """A function that fetches a file from a server with a habit; it returns the content or the error message."""
    server.files["file"] = BODY

    def fetch(habit=None, url=None):
        if habit:
            server.misbehave(habit)
        try:
            with within(20):
                transfer.fetch(url or f"{server.url}file", tmp_path / "file")
        except SourceError as error:
            assert len(str(error).splitlines()) == 1
            return str(error)
        return (tmp_path / "file").read_bytes()

    return fetch


# ---- answers ----


@pytest.mark.parametrize(
    ("habit", "reason"),
    [
        (dropped, "expected a complete answer, received IncompleteRead, 3 times"),
        (announced_too_long, "expected a complete answer, received IncompleteRead, 3 times"),
        (nothing, "expected a complete answer, received RemoteDisconnected, 3 times"),
        (garbage, "expected a complete answer, received BadStatusLine, 3 times"),
        (flood(OK, b"X-A: a\r\n" * 100), "expected a complete answer, received HTTPException, 3 times"),
        (flood(OK + b"X-A: ", bytes(1 << 16)), "expected a complete answer, received LineTooLong, 3 times"),
        (flood(CONTINUE + b"X", bytes(1 << 16)), "expected a complete answer, received LineTooLong, 3 times"),
        (flood(CHUNKED + b"5;", b"0" * (1 << 16)), "expected a complete answer, received "),
        (status(404), "expected HTTP status 200, received 404"),
        (status(304), "expected HTTP status 200, received 304"),
        (status(500), "expected HTTP status 200, received 500, 3 times"),
        (status(429), "expected HTTP status 200, received 429, 3 times"),
        (in_circles, "expected a valid HTTP response, received TooManyRedirects"),
    ],
)
def test_each_failure_is_one_line(habit, reason, fetch, server):
    """Endless lines do not fill the memory either: the libraries limit them."""
    assert reason in fetch(habit)
    assert len(server.requests) == (
        3 if "complete" in reason or "3 times" in reason else 31 if "Too" in reason else 1
    )


@pytest.mark.parametrize(
    "location",
    [
        b"http://[::1/x",
        b"\xff\xfe\xfd",
        b"/\xe4",
        b"ftp://127.0.0.1/x",
        b"file:///etc/passwd",
        b"http://",
        b"http:///x",
        b"http://127.0.0.1:99999999/",
        b"http://127.0.0.1:x/",
        b"http://a..b/",
        b"http://*/",
        b"http://" + b"a" * 300,
        b"//[",
        b"javascript:0",
        b"http://\xc3\xa4\xc3\xa4/\x00",
        b"http://%/%",
        b"x" * 60_000,
    ],
    ids=lambda text: repr(text[:20]),
)
def test_a_redirect_to_an_invalid_address_is_one_line(location, fetch, monkeypatch):
    known = socket.getaddrinfo

    def look_up(host, *args):
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *args)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert "expected" in fetch(to(location))


@pytest.mark.parametrize("body", [flood(ENDLESS_REDIRECT, bytes(1 << 16)), slowly(ENDLESS_REDIRECT, b"x")])
def test_a_redirect_is_followed_without_its_endless_body(body, fetch, server):
    server.files["elsewhere"] = b"here"
    server.habits["file"] = [body]
    assert fetch() == b"here"
    assert server.sent < 20 << 20  # the buffers of the sockets


def test_a_missing_file_has_its_own_mark(server, tmp_path):
    for url in (f"{server.url}none", (tmp_path / "none").as_uri()):
        with pytest.raises(SourceError) as caught:
            transfer.fetch(url, tmp_path / "file")
        assert caught.value.absent


@pytest.mark.parametrize("habit", [status(503), status(429), status(408), dropped, nothing])
def test_temporary_failures_are_retried(habit, fetch, server):
    server.habits["file"] = [habit, habit]
    assert fetch() == BODY
    assert server.requests == ["file"] * 3


@pytest.mark.parametrize("habit", [no_length, labeled_encoded, to(b"/elsewhere?a=1"), to(b"elsewhere")])
def test_unusual_answers_are_accepted(habit, fetch, server):
    server.files["elsewhere"] = BODY
    server.habits["file"] = [habit]
    assert fetch() == BODY


@pytest.mark.parametrize(
    ("habit", "length"), [(announced_too_short, len(BODY) // 3), (announced_in_5000_digits, len(BODY))]
)
def test_a_wrong_content_length_is_believed_or_ignored(habit, length, fetch):
    """The digest of the content shows the damage later."""
    assert fetch(habit) == BODY[:length]


# ---- connections ----


def test_names_that_do_not_resolve_are_refused_at_once(monkeypatch, fetch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert fetch(url="http://mirror.example/file") == "expected a connection, received NameResolutionError"


def test_a_refused_connection_fails_at_once(fetch, server):
    server.server_close()
    assert fetch() == "expected a connection, received NewConnectionError"


def test_a_server_without_tls_is_refused(fetch, server):
    assert (
        fetch(url=f"{server.url.replace('http', 'https')}file") == "expected a connection, received SSLError"
    )
    assert server.requests == []


@pytest.fixture
def proxy(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("https_proxy", server.url)
    monkeypatch.delenv("no_proxy")
    return server


def test_a_proxy_is_used(proxy, fetch):
    assert fetch(url="http://mirror.example/file") == BODY
    assert "expected a connection, received" in fetch(
        url="https://mirror.example/file"
    )  # it makes no tunnels


@pytest.mark.skipif(
    importlib.util.find_spec("socks") is not None, reason="needs an environment without PySocks"
)
def test_a_socks_proxy_without_its_package_is_one_line_with_the_way_out(monkeypatch, fetch):
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    monkeypatch.delenv("no_proxy")
    assert fetch(url="http://mirror.example/file") == (
        "expected the package PySocks, as the environment names a SOCKS proxy, received none; "
        "install it with: pip install PySocks"
    )


# ---- local folders ----


def test_a_file_url_may_have_spaces(fetch, tmp_path):
    (tmp_path / "with space").write_bytes(b"x")
    assert fetch(url=(tmp_path / "with space").as_uri()) == b"x"


def test_what_is_not_a_regular_file_is_refused(fetch, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none"):
        assert fetch(url=path.as_uri()) == "expected a file, received no such file"


# ---- the process ----


def begin(*words, options=(), **streams):
    command = [sys.executable, "-P", *options, transfer.__file__, *map(str, words)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, text=True, **streams)


def test_it_loads_no_package_before_it_needs_one(tmp_path):
    (tmp_path / "there").write_text("x")
    words = (tmp_path / "there").as_uri(), tmp_path / "here"
    process = begin(*words, options=("-X", "importtime"), stderr=subprocess.PIPE)
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in process.stderr}
    assert "threading" in modules and not modules & {
        "bnn",
        "numpy",
        "keras",
        "tensorflow",
        "requests",
        "tqdm",
    }
    assert process.wait() == 0 and (tmp_path / "here").read_text() == "x"


def test_it_ends_with_all_processes_that_it_started_when_its_parent_does(npm):
    process = begin("sh", "-c", STUBBORN.format(pids=npm.pids))
    npm.started()
    process.stdin.close()
    npm.assert_gone()
    assert process.wait() < 0
