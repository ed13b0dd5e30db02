"""One thread for TensorFlow and for NumPy: networks and arrays are tiny, more threads cost more than they compute.

NumPy reads the number when it loads. Programs that the tests start inherit it.
"""

import os

for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
