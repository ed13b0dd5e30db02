"""Python imports this module at start-up if its folder is on PYTHONPATH, so every child process is guarded."""

import network_guard  # noqa: F401
