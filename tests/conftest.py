"""Set-up of all tests: Keras loads without TensorFlow's notes; failures of hypothesis repeat."""

from hypothesis import settings

from bnn import backend

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
backend.load()
