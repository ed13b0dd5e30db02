"""Python imports this as it starts, where the folder is on PYTHONPATH: in every process that a test starts."""

import network_guard  # noqa: F401
