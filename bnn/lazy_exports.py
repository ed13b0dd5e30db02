"""Public names whose module loads when the name is first used (PEP 562), also under the names that modules had before.

Beside the `__init__` of each such package is a stub, `__init__.pyi`, from which editors and type checkers read the same
names. The first module that needs Keras loads it without the notes that TensorFlow prints at any log level.
"""

import importlib
import os
import sys
import tempfile
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

ROUNDING = ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE")
# The former names of modules, by the package that holds them now.
MOVED = {
    "analysis": "paper prediction",
    "console": "arguments errors progress_bars spelling suggestions tables",
    "geometry": "estimators",
    "layers": "optimizers",
    "settings": "config flags presets user_code",
    "analysis.core": (
        "checks comparison holdings layer_geometry layer_report levels linear_maps measuring outputs product "
        "statistics unit_products"
    ),
    "analysis.keras": "ablation batch_moments capture einsum geometry_log recurrent",
}
FORMER = {
    **{
        f"bnn.{'analysis.' if package.startswith('analysis.') else ''}{name}": f"bnn.{package}.{name}"
        for package, names in MOVED.items()
        for name in names.split()
    },
    "bnn.faces": "bnn.lazy_exports",
    "bnn.datasets.axes": "bnn.datasets.data_set",
    "bnn.datasets.place": "bnn.datasets.catalog",
    "bnn.fields": "bnn.console.errors",
    "bnn.files.records": "bnn.files.atomic",
    "bnn.layers.patches": "bnn.layers.transforms",
    "bnn.layers.rotation": "bnn.layers.transforms",
    "bnn.layers.whitening": "bnn.layers.transforms",
    "bnn.models.arithmetic": "bnn.models.surgery",
    "bnn.models.whitening": "bnn.models.surgery",
    "bnn.packed.errors": "bnn.packed.parts",
    "bnn.paths": "bnn.console.arguments",
    "bnn.runs.metrics": "bnn.runs.log",
    "bnn.models.networks": "bnn.settings.building",
    "bnn.quiet": "bnn.lazy_exports",
    "bnn.train_config": "bnn.settings.training",
    "bnn.training.own_data": "bnn.training.data",
    "bnn.analysis.masks": "bnn.analysis.keras.capture",
    "bnn.analysis.keras_holdings": "bnn.analysis.keras.holdings",
    "bnn.analysis.kernel_products": "bnn.analysis.keras.kernels",
    "bnn.analysis.score_agreement": "bnn.analysis.keras.scores",
    **{
        f"bnn.analysis.torch_{name}": f"bnn.analysis.torch.{name}"
        for name in ("capture", "forms", "holdings", "probe", "recurrent", "scores")
    },
    "bnn.analysis.torch_measuring": "bnn.analysis.torch.adapter",
    "bnn.analysis.torch_modules": "bnn.analysis.torch.kernels",
    "bnn.analysis.torch_report": "bnn.analysis.report",
    "bnn.analysis.transposed": "bnn.analysis.core.linear_maps",
}
# Names of a package that another one holds now, by that package's module.
ELSEWHERE = {
    "bnn.models.build": "bnn.settings.building",
    "bnn.models.build_model": "bnn.settings.building",
}


def face(package, *rooms, **homes):
    """The names that make a package's `__init__` its face.

    Args:
        package: str, the package's `__name__`.
        *rooms: str, modules or packages within it that are attributes of it.
        **homes: for each module within it, a list of those of its names that are attributes of the package.

    Returns:
        (__getattr__, __dir__, __all__) of the package. A name is looked up at every use, so that a test can
        replace it in its module.
    """
    found = {name: module for module, names in homes.items() for name in names}

    def get(name):
        full = f"{package}.{name}"
        if name in rooms or full in FORMER:
            return _load(full)
        if name in found or full in ELSEWHERE:
            return getattr(_load(ELSEWHERE.get(full) or f"{package}.{found[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    public = sorted([*rooms, *found])
    return get, lambda: public, public


def _load(module):
    """Import a module; if it is the first that needs Keras, without the notes of the backend."""
    if loaded := sys.modules.get(module):
        return loaded
    with quiet_start():
        return importlib.import_module(module)


class FormerNames(MetaPathFinder, Loader):
    """Import a module by its name in `FORMER`: both names are the same module."""

    def find_spec(self, fullname, path=None, target=None):
        """The spec of a former name, else None."""
        return ModuleSpec(fullname, self) if fullname in FORMER else None

    def create_module(self, spec):
        """The module under its present name."""
        module = importlib.import_module(FORMER[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        """Give the module its own spec back, which the import has replaced; its code has run."""
        module.__spec__ = module.__spec__.loader_state


def exact_float32():
    """Unset the variables that make oneDNN's products of float32 bfloat16, which oneDNN reads at its first product."""
    for name in ROUNDING:
        os.environ.pop(name, None)


@contextmanager
def quiet_start():
    """Hide what is written to standard error while Keras loads, and show it after all if Keras does not load.

    Hides nothing if Keras is loaded already, or if TF_CPP_MIN_LOG_LEVEL=0 asks for the notes. Turns TensorFlow's oneDNN
    kernels on, unless TF_ENABLE_ONEDNN_OPTS is set, and keeps float32 exact; see `bnn.backend.load`.
    """
    exact_float32()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "keras" in sys.modules or os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0":
        yield
        return
    try:
        stderr = os.dup(2)
    except OSError:  # a closed standard error hides everything
        yield
        return
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)  # the notes come from C++, which writes to the descriptor
        loaded = False
        try:
            yield
            loaded = "keras" in sys.modules
        finally:
            os.dup2(stderr, 2)
            if not loaded:
                notes.seek(0)
                os.write(stderr, notes.read())
            os.close(stderr)
