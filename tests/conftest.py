"""Set-up of all tests: a quiet Keras, repeatable hypothesis, programs that Ctrl-C reaches."""

import signal

from hypothesis import settings

from bnn import backend

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
backend.load()
# A shell's background jobs ignore the signal, and so would every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
