"""An HTTP server that can misbehave, for the tests of the downloader."""

import contextlib
import functools
import itertools
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from bnn.datasets import transfer


class Server(ThreadingHTTPServer):
    """Serves `files`.

    The next function of `habits[name]` answers a request; if there is none, `always[name]`; else the file is sent.
    """

    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that disconnects early is expected

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.habits, self.always, self.requests = {}, {}, {}, []
        self.stalled, self.release = threading.Event(), threading.Event()
        self.sent = 0  # bytes sent by `flood`
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def misbehave(self, habit):
        """Answer all requests for the files in this way."""
        self.always = dict.fromkeys(self.files, habit)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = urlsplit(self.path).path.lstrip("/")  # requests to a proxy have a URL as path
        self.server.requests.append(name)
        queue = self.server.habits.get(name, [])
        habit = queue.pop(0) if queue else self.server.always.get(name, whole)
        with contextlib.suppress(OSError):
            habit(self, self.server.files.get(name))

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


# ---- habits: functions that answer a request, given the handler and the content of the file ----


def whole(handler, body):
    handler.answer(404) if body is None else handler.answer(200, body)


def status(code):
    return lambda handler, _: handler.answer(code, b"<html>sorry</html>")


def dropped(handler, body):
    handler.answer(200, body[: len(body) // 2], length=len(body))


def announced_too_long(handler, body):
    handler.answer(200, body, length=10**12)


def announced_too_short(handler, body):
    handler.answer(200, body, length=len(body) // 3)


def announced_in_5000_digits(handler, body):
    handler.answer(200, body, length="9" * 5000)


def no_length(handler, body):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(body)


def endless(handler, body):
    """Send no Content-Length, and many more bytes than the file has."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(10_000):
        handler.wfile.write(body)


def web_page(handler, _):
    handler.answer(200, b"<!DOCTYPE html><title>Please log in</title>")


def wrong_bytes(handler, body):
    handler.answer(200, body[:-9] + bytes(b ^ 255 for b in body[-9:]))


def in_circles(handler, _):
    handler.answer(302, Location=handler.path.split("?")[0] + f"?{len(handler.server.requests)}")


def to(location):
    """Redirect to a location, given as the bytes of the header."""

    def habit(handler, _):
        handler.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")

    return habit


def labeled_encoded(handler, body):
    """Declare a .gz file as a gzip encoding of another file, as some servers do."""
    handler.answer(200, body, Content_Encoding="gzip")


def nothing(handler, _):
    """Close the connection without an answer."""
    handler.close_connection = True


def garbage(handler, _):
    handler.wfile.write(b"\x00\xff not HTTP\r\n\r\n" * 9)
    handler.close_connection = True


def stall(handler, body):
    dropped(handler, body)
    handler.wfile.flush()
    handler.server.stalled.set()
    handler.server.release.wait(30)


def silent(handler, _):
    """Keep the connection open and send nothing."""
    handler.server.stalled.set()
    handler.server.release.wait(30)


def late_redirect(handler, _):
    """Each answer is in time, but is another redirect."""
    handler.server.release.wait(0.1)
    in_circles(handler, _)


def slowly(start, forever):
    """Send the start at once, and then single bytes without end."""

    def habit(handler, body):
        handler.wfile.write(start.replace(b"BODY", b"%x\r\n%s\r\n" % (len(body), body)))
        for k in itertools.count():
            if handler.server.release.wait(0.02):
                return
            handler.wfile.write(forever[k % len(forever) :][:1])

    return habit


def flood(start, forever):
    """Send the start, and then data without end, as fast as the client reads."""

    def habit(handler, _):
        handler.wfile.write(start)
        while not handler.server.release.is_set():
            handler.wfile.write(forever)
            handler.server.sent += len(forever)

    return habit


OK, CHUNKED = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTINUE, FOUND = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 302 Found\r\n"
ENDLESS_REDIRECT = FOUND + b"Location: /elsewhere\r\nContent-Length: 99999999999\r\n\r\n"


# ---- fixtures ----


def start_serving(server):
    poll = functools.partial(server.serve_forever, poll_interval=0.01)
    threading.Thread(target=poll, daemon=True).start()
    return server


@pytest.fixture
def servers(monkeypatch):
    """A function that starts a server and returns it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transfer, "PAUSE_S", 0)
    started = []

    def start():
        started.append(start_serving(Server()))
        return started[-1]

    yield start
    for server in started:
        server.release.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(servers):
    return servers()


@pytest.fixture
def deaf():
    """The URL of a local port that never accepts a connection, because its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
