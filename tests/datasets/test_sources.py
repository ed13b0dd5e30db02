"""Files from servers that misbehave."""

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
    labelled_encoded,
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
    """A function that fetches a file from a server with a habit: its content, or the message of the failure."""
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
    """Less than half a second for headers."""
    monkeypatch.setattr(deadline, "HEADERS_S", 0.4)


@pytest.fixture
def short_pace(monkeypatch):
    """Less than half a second to show some speed."""
    monkeypatch.setattr(deadline, "PACE_S", 0.2)


# ---- time ----


@pytest.mark.parametrize("habit", TOO_LATE_HEADERS.values(), ids=TOO_LATE_HEADERS)
def test_headers_that_take_too_long_end_the_only_try(habit, short, fetch, server):
    begin = time.monotonic()
    assert fetch(habit) == "expected an answer within 0 s, received none"
    assert time.monotonic() - begin < 5
    assert len(server.requests) == 1 or habit is late_redirect


@pytest.mark.parametrize("habit", TOO_SLOW_BODIES.values(), ids=TOO_SLOW_BODIES)
def test_bodies_that_are_too_slow_end_the_only_try(habit, short_pace, fetch, server):
    begin = time.monotonic()
    message = fetch(habit, limit=50_000)
    assert message.startswith("expected at least 1,000 bytes per second, received ")
    assert time.monotonic() - begin < 5 and server.requests == ["file"]


@pytest.mark.parametrize("body", [flood(ENDLESS_REDIRECT, bytes(1 << 16)), slowly(ENDLESS_REDIRECT, b"x")])
def test_a_redirect_is_followed_without_its_endless_body(body, fetch, server):
    server.files["elsewhere"] = b"here"
    server.habits["file"] = [body]
    assert fetch() == b"here"
    assert server.sent < 20 << 20  # what the sockets hold


@pytest.mark.parametrize("part", [OK + b"X-A: ", CHUNKED + b"5;", CHUNKED + b"", CONTINUE])
def test_lines_without_end_do_not_fill_the_memory(part, short, short_pace, fetch, server):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "expected" in fetch(flood(part, b"0" * (1 << 16)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # in KiB


def test_a_source_that_breaks_off_has_the_rest_of_its_time(fetch, server, monkeypatch):
    """Attempts share the time for headers, and a body that came costs nothing of it."""
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


def test_mirrors_that_never_accept_cost_their_budget_in_all(monkeypatch, deaf, fetch):
    monkeypatch.setattr(deadline, "CONNECT_S", 0.2)
    monkeypatch.setattr(deadline, "CONNECT_IN_ALL_S", 0.5)
    patience, begin = Patience(), time.monotonic()
    messages = [fetch(url=f"{deaf}file", patience=patience) for _ in range(20)]
    assert time.monotonic() - begin < 2
    assert messages[0] == "expected a connection within 0 s, received none"
    assert messages[-1] == "expected time to connect, received none: earlier connections have used it up"


def test_names_that_never_resolve_cost_the_same(monkeypatch, fetch):
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


def test_nobody_listens(fetch, server):
    server.server_close()
    begin = time.monotonic()
    assert "expected a connection, received NewConnectionError" in fetch()
    assert time.monotonic() - begin < 1


def test_the_budget_is_for_connections_alone(fetch, tmp_path):
    """A folder of this machine needs none."""
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


def test_a_proxy_that_does_not_answer_is_left(proxy, short, fetch):
    proxy.always["file"] = silent
    assert fetch(url="http://mirror.example/file") == "expected an answer within 0 s, received none"


# ---- answers ----


@pytest.mark.parametrize(
    ("habit", "reason"),
    [
        (dropped, "expected a lasting connection, received IncompleteRead, 3 times"),
        (nothing, "expected a lasting connection, received RemoteDisconnected, 3 times"),
        (garbage, "expected a lasting connection, received BadStatusLine, 3 times"),
        (status(404), "expected HTTP status 200, received 404"),
        (status(304), "expected HTTP status 200, received 304"),
        (status(500), "expected HTTP status 200, received 500, 3 times"),
        (status(429), "expected HTTP status 200, received 429, 3 times"),
        (announced_too_long, "expected at most 20,000 bytes, received an announcement of 1,000,000,000,000"),
        (announced_in_5000_digits, "expected "),
        (endless, "expected at most 20,000 bytes, received more"),
        (in_circles, "expected at most 5 redirects, received more"),
        (flood(OK, b"X-A: a\r\n" * 100), "expected a lasting connection, received HTTPException, 3 times"),
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
def test_a_location_that_leads_nowhere_is_one_line(location, fetch, monkeypatch):
    known = socket.getaddrinfo

    def look_up(host, *args):
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *args)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert "expected" in fetch(to(location))


def test_a_missing_file_is_told_apart(server, tmp_path):
    with pytest.raises(NotThereError):
        fetch_url(f"{server.url}none", tmp_path / "file", 10, Patience())
    with pytest.raises(NotThereError, match="received no such file"):
        fetch_url((tmp_path / "none").as_uri(), tmp_path / "file", 10, Patience())


@pytest.mark.parametrize("habit", [status(503), status(429), status(408), dropped, nothing])
def test_passing_trouble_is_tried_again(habit, fetch, server):
    server.habits["file"] = [habit, habit]
    assert fetch() == BODY
    assert server.requests == ["file"] * 3


@pytest.mark.parametrize("habit", [no_length, labelled_encoded, to(b"/elsewhere?a=1"), to(b"elsewhere")])
def test_unusual_answers_are_taken(habit, fetch, server):
    server.files["elsewhere"] = BODY
    server.habits["file"] = [habit]
    assert fetch() == BODY


def test_a_length_that_lies_cuts_the_file(fetch):
    """The content's digest tells."""
    assert fetch(announced_too_short) == BODY[: len(BODY) // 3]


# ---- folders of this machine ----


def test_a_file_url_may_have_spaces(fetch, tmp_path):
    (tmp_path / "with space").write_bytes(b"x")
    assert fetch(url=(tmp_path / "with space").as_uri()) == b"x"


def test_files_that_are_none(fetch, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none"):
        assert fetch(url=path.as_uri()) == "expected a file, received no such file"
    with (tmp_path / "large").open("wb") as file:
        file.truncate(10**12)
    assert "received an announcement of 1,000,000,000,000" in fetch(url=(tmp_path / "large").as_uri())
