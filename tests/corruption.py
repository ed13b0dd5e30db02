"""Random damage to the bytes of a file."""

import contextlib
import signal


def corrupted(content, rng):
    """Return the bytes with one to three kinds of damage; they always differ from the original."""
    damaged = content
    while damaged == content:
        for kind in rng.choice(DAMAGES, size=rng.integers(1, 4)):
            damaged = kind(damaged, rng)
    return damaged


def flip(content, rng):
    """Flip one bit at a random place."""
    place = _place(content, rng)
    return (
        content[:place]
        + bytes(b ^ 1 << rng.integers(8) for b in content[place : place + 1])
        + content[place + 1 :]
    )


def truncate(content, rng):
    """Remove the end."""
    return content[: _place(content, rng)]


def swap(content, rng):
    """Swap two parts."""
    a, b, c, d = sorted(_place(content, rng) for _ in range(4))
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def blank(content, rng):
    """Replace a part by zeros."""
    start, end = sorted(_place(content, rng) for _ in range(2))
    return content[:start] + bytes(end - start) + content[end:]


def repeat(content, rng):
    """Repeat a part."""
    start, end = sorted(_place(content, rng) for _ in range(2))
    return content[:end] + content[start:]


def replace(content, rng):
    """Replace a byte by one that is special in text formats."""
    place = _place(content, rng)
    return (
        content[:place]
        + rng.choice(list(b'0159-.eE+,"[]{}:\n\x00\xff nNaI')).tobytes()[:1]
        + content[place + 1 :]
    )


DAMAGES = [flip, flip, truncate, swap, blank, repeat, replace]


def _place(content, rng):
    return int(rng.integers(len(content) + 1))


class Hang(BaseException):
    """The code did not finish in time."""


@contextlib.contextmanager
def within(seconds):
    """Raise `Hang` if the block takes longer."""

    def stop(*_):
        raise Hang(f"expected an answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
