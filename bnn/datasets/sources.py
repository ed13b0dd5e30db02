"""Fetch files from a folder at a URL within limits of size and time, and define the errors of a source."""

import contextlib
import functools
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

from bnn import console
from bnn.datasets import deadline
from bnn.datasets.deadline import Budget, Clock, OutOfTimeError, Transfer

CHUNK = 1 << 18
ATTEMPTS = 3  # at each mirror, if the failure may be temporary
BACKOFF_S = 0.5  # pause before the second attempt; it is doubled before the third
MAX_REDIRECTS = 5
THREAD_S = 3 * deadline.HEADERS_S  # without data, an abandoned thread ends after this time


class SourceError(Exception):
    """One source failed, but another may work. The message says what was expected and what was received."""


class TransientError(SourceError):
    """One source failed, and the failure may be temporary."""


class NotThereError(SourceError):
    """A source does not have the requested file."""


@dataclass
class Patience:
    """The total time that one call of the program waits.

    Attributes:
        connecting: Budget of seconds for all failed connections.
    """

    connecting: Budget = field(default_factory=lambda: Budget(deadline.CONNECT_IN_ALL_S))


# ---- files in a folder at a URL ----


def fetch_url(url, target, limit, patience):
    """Fetch a file, and try again after a temporary failure.

    Args:
        url: http, https or file URL.
        target: Path to write to.
        limit: int, the maximum size in bytes.
        patience: Patience.

    Raises:
        SourceError: the file cannot be fetched in time, or it is too large.
        OSError: `target` is not writable.
    """
    waiting = Budget(deadline.HEADERS_S)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _fetch_once(url, target, limit, patience.connecting, waiting)
        except TransientError as error:
            if attempt == ATTEMPTS:
                raise SourceError(f"{error}, {ATTEMPTS} times") from None
            time.sleep(BACKOFF_S * 2 ** (attempt - 1))


def _fetch_once(url, target, limit, connecting, waiting):
    if connecting.left <= 0 and not url.startswith("file:"):
        raise SourceError("expected time left to connect, received none: earlier connections used it up")
    transfer = Transfer()
    chunks = (_file_chunks if url.startswith("file:") else _http_chunks)(url, limit, transfer)
    with bar(url) as show:
        try:
            clock = Clock(transfer, connecting, waiting)
            deadline.watched(functools.partial(_save, chunks, target, limit, transfer), transfer, clock, show)
        except OutOfTimeError as error:
            raise SourceError(str(error)) from None


def _save(chunks, target, limit, transfer):
    """Write chunks to a file, at most `limit` bytes."""
    with contextlib.closing(chunks), target.open("wb") as file:
        for chunk in chunks:
            if transfer.abandoned:
                return
            transfer.received += len(chunk)
            if transfer.received > limit:
                raise SourceError(f"expected at most {limit:,} bytes, received more")
            file.write(chunk)


def _file_chunks(url, limit, transfer):
    """Yield the file at a file: URL."""
    path = Path(url2pathname(urlsplit(url).path))
    transfer.connected = transfer.answered = True
    try:
        if not path.is_file():  # opening a pipe could wait forever
            raise NotThereError("expected a file, received no such file")
        check_length(str(path.stat().st_size), limit)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise SourceError(f"expected a readable file, received {error.strerror}") from None


def _http_chunks(url, limit, transfer):
    """Yield the bytes of the file at `url` as they are stored there, without decoding any Content-Encoding."""
    import requests
    import urllib3

    try:
        with _session(transfer) as session, contextlib.closing(_answer(session, url)) as response:
            _check_status(response.status_code)
            check_length(response.headers.get("Content-Length", ""), limit)
            transfer.answered = True
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                yield chunk
    except requests.TooManyRedirects:
        raise SourceError(f"expected at most {MAX_REDIRECTS} redirects, received more") from None
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        if transfer.connected:
            raise TransientError(f"expected a complete answer, received {_root_cause(error)}") from None
        raise SourceError(f"expected a connection, received {_root_cause(error)}") from None
    except requests.exceptions.InvalidSchema as error:
        if "SOCKS" not in str(error):
            raise SourceError(f"expected a valid HTTP response, received {_root_cause(error)}") from None
        raise SourceError(
            "expected the package PySocks, as the environment names a SOCKS proxy, received none; "
            "install it with: pip install PySocks"
        ) from None
    except (requests.RequestException, ValueError) as error:  # ValueError: invalid URLs or numbers in headers
        raise SourceError(f"expected a valid HTTP response, received {_root_cause(error)}") from None


def _answer(session, url):
    """Follow the redirects of a URL and return the response, without reading the bodies, which may be endless."""
    import requests

    for _ in range(MAX_REDIRECTS + 1):
        response = session.get(
            url, stream=True, allow_redirects=False, timeout=THREAD_S, headers={"Accept-Encoding": "identity"}
        )
        target = session.get_redirect_target(response)
        if target is None:
            return response
        response.close()
        url = urljoin(response.url, target)
    raise requests.TooManyRedirects


def _session(transfer):
    """Create a requests.Session that reports each connection to a Transfer and reads no body by itself."""
    import requests
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def get_connection_with_tls_context(self, *args, **kwargs):
            pool = super().get_connection_with_tls_context(*args, **kwargs)
            kind = pool.ConnectionCls

            class Connection(kind):
                def connect(self):
                    super().connect()
                    transfer.connect(self.sock)

            pool.ConnectionCls = Connection
            return pool

    class Session(requests.Session):
        def resolve_redirects(self, *_, **__):
            return iter(())  # The original reads the body of a redirect even without following it.

    session = Session()
    for prefix in ("http://", "https://"):
        session.mount(prefix, Adapter())
    return session


def _root_cause(error):
    """Return the type of the innermost error in the errors of urllib3 and requests."""
    causes = (getattr(error, "reason", None), *error.args)
    inner = next((cause for cause in causes if isinstance(cause, Exception)), None)
    return _root_cause(inner) if inner else type(error).__name__


def _check_status(status):
    """Raise `SourceError` unless an HTTP status is 200; `TransientError` if the failure may be temporary."""
    if status != 200:
        temporary = status in (408, 429) or status >= 500
        kind = TransientError if temporary else NotThereError if status in (404, 410) else SourceError
        raise kind(f"expected HTTP status 200, received {status}")


def check_length(text, limit):
    """Raise `SourceError` if more than `limit` bytes are announced."""
    if text.isdecimal() and int(text) > limit:
        raise SourceError(f"expected at most {limit:,} bytes, received a size of {int(text):,}")


@contextlib.contextmanager
def bar(what):
    """Yield a function that shows on a terminal how many bytes have arrived."""
    with console.progress(unit="B", description=what.rsplit("/", 1)[-1]) as shown:
        yield lambda received: shown.update(received - shown.n)
