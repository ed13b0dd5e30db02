"""Downloading files, also from servers that misbehave."""

import importlib.util
import os
import resource
import socket
import time

import pytest

from bnn.datasets import deadline
from bnn.datasets.sources import NotThereError, Patience, SourceError, fetch_url
from tests.corruption import within
from tests.misbehaving_server import (
    CHUNKED,
    CONTINUE,
    ENDLESS_REDIRECT,
    OK,
    TOO_LATE_HEADERS,
    TOO_SLOW_BODIES,
    announced_in_5000_digits,
    announced_too_long,
    announced_too_short,
    dropped,
    endless,
    flood,
    garbage,
    in_circles,
    labeled_encoded,
    late_redirect,
    no_length,
    nothing,
    silent,
    slowly,
    status,
    to,
)

BODY = bytes(range(256)) * 40


@pytest.fixture
def fetch(server, tmp_path):
    """A function that downloads a file from a server with a habit; it returns the content or the error message."""
    server.files["file"] = BODY

    def fetch(habit=None, limit=20_000, url=None, patience=None):
        if habit:
            server.misbehave(habit)
        target = tmp_path / "file"
        try:
            with within(20):
                fetch_url(url or f"{server.url}file", target, limit, patience or Patience())
        except SourceError as error:
            assert len(str(error).splitlines()) == 1
            return str(error)
        return target.read_bytes()

    return fetch


@pytest.fixture
def short(monkeypatch):
    """Limit the wait for headers to less than half a second."""
    monkeypatch.setattr(deadline, "HEADERS_S", 0.4)


@pytest.fixture
def short_pace(monkeypatch):
    """Limit the time of a slow transfer to less than half a second."""
    monkeypatch.setattr(deadline, "PACE_S", 0.2)


# ---- time ----


@pytest.mark.parametrize("habit", TOO_LATE_HEADERS.values(), ids=TOO_LATE_HEADERS)
def test_headers_that_take_too_long_are_not_requested_again(habit, short, fetch, server):
    begin = time.monotonic()
    assert fetch(habit) == "expected an answer within 0 s, received none"
    assert time.monotonic() - begin < 5
    assert len(server.requests) == 1 or habit is late_redirect


@pytest.mark.parametrize("habit", TOO_SLOW_BODIES.values(), ids=TOO_SLOW_BODIES)
def test_bodies_that_are_too_slow_are_not_requested_again(habit, short_pace, fetch, server):
    begin = time.monotonic()
    message = fetch(habit, limit=50_000)
    assert message.startswith("expected at least 1,000 bytes per second, received ")
    assert time.monotonic() - begin < 5 and server.requests == ["file"]


@pytest.mark.parametrize("body", [flood(ENDLESS_REDIRECT, bytes(1 << 16)), slowly(ENDLESS_REDIRECT, b"x")])
def test_a_redirect_is_followed_without_its_endless_body(body, fetch, server):
    server.files["elsewhere"] = b"here"
    server.habits["file"] = [body]
    assert fetch() == b"here"
    assert server.sent < 20 << 20  # the buffers of the sockets


@pytest.mark.parametrize("part", [OK + b"X-A: ", CHUNKED + b"5;", CHUNKED + b"", CONTINUE])
def test_endless_lines_do_not_fill_the_memory(part, short, short_pace, fetch, server):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "expected" in fetch(flood(part, b"0" * (1 << 16)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # in KiB


def test_after_a_dropped_connection_the_rest_of_the_time_is_left(fetch, server, monkeypatch):
    """Attempts share one time limit for headers; the time of a body does not count."""
    monkeypatch.setattr(deadline, "HEADERS_S", 0.7)
    monkeypatch.setattr(deadline, "PACE_S", 0.3)

    def slow_then_dropped(handler, body):
        handler.answer(200, b"", length=len(body))
        for k in range(10):
            handler.wfile.write(body[k * 1000 : (k + 1) * 1000])
            time.sleep(0.1)

    server.habits["file"] = [slow_then_dropped]
    assert fetch() == BODY
    assert server.requests == ["file", "file"]


def test_mirrors_that_never_accept_share_one_time_limit(monkeypatch, deaf, fetch):
    monkeypatch.setattr(deadline, "CONNECT_S", 0.2)
    monkeypatch.setattr(deadline, "CONNECT_IN_ALL_S", 0.5)
    patience, begin = Patience(), time.monotonic()
    messages = [fetch(url=f"{deaf}file", patience=patience) for _ in range(20)]
    assert time.monotonic() - begin < 2
    assert messages[0] == "expected a connection within 0 s, received none"
    assert messages[-1] == "expected time left to connect, received none: earlier connections used it up"


def test_name_resolution_counts_as_connecting(monkeypatch, fetch):
    monkeypatch.setattr(deadline, "CONNECT_S", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(2))
    begin = time.monotonic()
    assert "expected a connection within" in fetch(url="http://mirror.example/file")
    assert time.monotonic() - begin < 1.5


def test_names_that_do_not_resolve_are_refused_at_once(monkeypatch, fetch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "expected a connection, received" in fetch(url="http://mirror.example/file")


def test_a_refused_connection_fails_at_once(fetch, server):
    server.server_close()
    begin = time.monotonic()
    assert "expected a connection, received NewConnectionError" in fetch()
    assert time.monotonic() - begin < 1


def test_local_files_need_no_time_to_connect(fetch, tmp_path):
    """They are read although the time limit for connections is used up."""
    patience = Patience()
    patience.connecting.spend(100)
    (tmp_path / "there").write_bytes(b"x")
    assert fetch(url=(tmp_path / "there").as_uri(), patience=patience) == b"x"


# ---- proxies ----


@pytest.fixture
def proxy(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy")
    return server


def test_a_proxy_is_used(proxy, fetch):
    assert fetch(url="http://mirror.example/file") == BODY


def test_a_proxy_that_does_not_answer_is_given_up(proxy, short, fetch):
    proxy.always["file"] = silent
    assert fetch(url="http://mirror.example/file") == "expected an answer within 0 s, received none"


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


# ---- answers ----


@pytest.mark.parametrize(
    ("habit", "reason"),
    [
        (dropped, "expected a complete answer, received IncompleteRead, 3 times"),
        (nothing, "expected a complete answer, received RemoteDisconnected, 3 times"),
        (garbage, "expected a complete answer, received BadStatusLine, 3 times"),
        (status(404), "expected HTTP status 200, received 404"),
        (status(304), "expected HTTP status 200, received 304"),
        (status(500), "expected HTTP status 200, received 500, 3 times"),
        (status(429), "expected HTTP status 200, received 429, 3 times"),
        (announced_too_long, "expected at most 20,000 bytes, received a size of 1,000,000,000,000"),
        (announced_in_5000_digits, "expected "),
        (endless, "expected at most 20,000 bytes, received more"),
        (in_circles, "expected at most 5 redirects, received more"),
        (flood(OK, b"X-A: a\r\n" * 100), "expected a complete answer, received HTTPException, 3 times"),
    ],
)
def test_each_failure_is_one_line(habit, reason, fetch, server):
    assert reason in fetch(habit)
    assert len(server.requests) == (3 if "3 times" in reason else 6 if "redirects" in reason else 1)


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


def test_a_missing_file_has_its_own_error(server, tmp_path):
    with pytest.raises(NotThereError):
        fetch_url(f"{server.url}none", tmp_path / "file", 10, Patience())
    with pytest.raises(NotThereError, match="received no such file"):
        fetch_url((tmp_path / "none").as_uri(), tmp_path / "file", 10, Patience())


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


def test_a_wrong_content_length_truncates_the_file(fetch):
    """The digest of the content shows the damage later."""
    assert fetch(announced_too_short) == BODY[: len(BODY) // 3]


# ---- local folders ----


def test_a_file_url_may_have_spaces(fetch, tmp_path):
    (tmp_path / "with space").write_bytes(b"x")
    assert fetch(url=(tmp_path / "with space").as_uri()) == b"x"


def test_what_is_not_a_regular_file_is_refused(fetch, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none"):
        assert fetch(url=path.as_uri()) == "expected a file, received no such file"
    with (tmp_path / "large").open("wb") as file:
        file.truncate(10**12)
    assert "received a size of 1,000,000,000,000" in fetch(url=(tmp_path / "large").as_uri())
