"""Files from a folder behind a URL, within limits of size and time; how a source may fail."""

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
ATTEMPTS = 3  # at each mirror, where the failure may pass
BACKOFF_S = 0.5  # before the second attempt; doubled before the third
MAX_REDIRECTS = 5
THREAD_S = 3 * deadline.HEADERS_S  # of silence end a thread that nobody waits for


class SourceError(Exception):
    """One source failed; another may do. The message says what was expected and received."""


class TransientError(SourceError):
    """One source failed in a way that may pass."""


class NotThereError(SourceError):
    """A source does not hold what was asked for."""


@dataclass
class Patience:
    """How long one call of the program waits.

    Attributes:
        connecting: Budget of seconds for all connections that do not come about.
    """

    connecting: Budget = field(default_factory=lambda: Budget(deadline.CONNECT_IN_ALL_S))


# ---- a folder behind a URL ----


def fetch_url(url, target, limit, patience):
    """Fetch a file, anew after a failure that may pass.

    Args:
        url: http, https or file URL.
        target: Path to write to.
        limit: int, the most bytes that are accepted.
        patience: Patience.

    Raises:
        SourceError: the file cannot be had in time, or is larger.
        OSError: `target` cannot be written.
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
        raise SourceError("expected to connect, received no connection elsewhere and no time is left to try")
    transfer = Transfer()
    chunks = (
        _file_chunks(url, limit, transfer) if url.startswith("file:") else _http_chunks(url, limit, transfer)
    )
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
        if not path.is_file():  # opening a pipe would wait for ever
            raise NotThereError("expected a file, received no such file")
        check_length(str(path.stat().st_size), limit)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise SourceError(f"expected a readable file, received {error.strerror}") from None


def _http_chunks(url, limit, transfer):
    """Yield the file at `url` as it is stored there, whatever Content-Encoding the server calls it."""
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
            raise TransientError(f"expected a lasting connection, received {_root_cause(error)}") from None
        raise SourceError(f"expected a connection, received {_root_cause(error)}") from None
    except (requests.RequestException, ValueError) as error:  # ValueError: of URLs and numbers in headers
        raise SourceError(f"expected an answer that follows HTTP, received {_root_cause(error)}") from None


def _answer(session, url):
    """The response behind the redirects of a URL; their bodies, which may have no end, are not read."""
    import requests

    for _ in range(MAX_REDIRECTS + 1):
        response = session.get(url, stream=True, allow_redirects=False, timeout=THREAD_S,
                               headers={"Accept-Encoding": "identity"})  # fmt: skip
        target = session.get_redirect_target(response)
        if target is None:
            return response
        response.close()
        url = urljoin(response.url, target)
    raise requests.TooManyRedirects


def _session(transfer):
    """A requests.Session that tells a Transfer of each connection that stands, and reads no body unasked."""
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
            return iter(())  # requests' own reads the body of a redirect, even where it is not to follow it

    session = Session()
    for prefix in ("http://", "https://"):
        session.mount(prefix, Adapter())
    return session


def _root_cause(error):
    """The kind of failure below all that urllib3 and requests wrap around it."""
    causes = (getattr(error, "reason", None), *error.args)
    inner = next((cause for cause in causes if isinstance(cause, Exception)), None)
    return _root_cause(inner) if inner else type(error).__name__


def _check_status(status):
    """Raise unless an HTTP status is 200: `TransientError` for a server's passing troubles."""
    if status != 200:
        passing = status in (408, 429) or status >= 500
        kind = TransientError if passing else NotThereError if status in (404, 410) else SourceError
        raise kind(f"expected HTTP status 200, received {status}")


def check_length(text, limit):
    """Raise `SourceError` if more than `limit` bytes are announced."""
    if text.isdecimal() and int(text) > limit:
        raise SourceError(f"expected at most {limit:,} bytes, received an announcement of {int(text):,}")


@contextlib.contextmanager
def bar(what):
    """Yield a function that shows how many bytes have come, on a terminal."""
    with console.progress(unit="B", description=what.rsplit("/", 1)[-1]) as shown:
        yield lambda received: shown.update(received - shown.n)
