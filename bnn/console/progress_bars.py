"""The two forms of progress: a bar on a terminal, and lines elsewhere. `bnn.console.progress` chooses."""

import contextlib
import sys

from tqdm import tqdm


class Bar(tqdm):
    """A bar as wide as the terminal, which disappears at the end.

    Args:
        details: see `bnn.console.progress`.
        **options: tqdm's.
    """

    form = "{desc} {bar} {details}"
    every_s, first_s = 0.2, 0

    def __init__(self, *args, details=None, **options):
        self.details = details
        if details:
            options["bar_format"] = self.form
        times = {"mininterval": self.every_s, "delay": self.first_s}
        super().__init__(*args, leave=False, file=sys.stderr, dynamic_ncols=True, **times, **options)

    @property
    def format_dict(self):
        """The state of the bar, with the details; tqdm asks for it only when it draws."""
        state = super().format_dict
        return state | {"details": self.details(state)} if getattr(self, "details", None) else state

    def announce(self, text):
        """Show a text in place of the details."""
        self.details = lambda state: text
        self.refresh()


class Lines(Bar):
    """One line at most every minute, for logs; none in the first minute."""

    form = "{desc} {percentage:3.0f}%  {details}"
    every_s = first_s = 60
    monitor_interval = 0  # no thread: every update looks at the clock

    def __init__(self, *args, **options):
        super().__init__(*args, miniters=1, ascii=True, **options)

    def display(self, msg=None, pos=None):
        """Print the line, unless tqdm clears it; a program does not end because progress cannot be written."""
        if msg is None:
            with contextlib.suppress(OSError, ValueError):
                print(self, file=sys.stderr, flush=True)

    def announce(self, text):
        """Nothing: a line is for the state of what is counted."""
