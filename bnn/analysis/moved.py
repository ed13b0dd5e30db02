"""The modules of this package under the names that they had before there was one folder for each framework."""

import importlib
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

CORE = (
    "checks comparison holdings layer_geometry layer_report levels linear_maps measuring outputs product "
    "statistics unit_products"
)
KERAS = "ablation batch_moments capture einsum geometry_log masks recurrent"
TORCH = "capture forms holdings probe recurrent scores"
PACKAGE = __name__.rpartition(".")[0]
NEW = {
    **{name: f"core.{name}" for name in CORE.split()},
    **{name: f"keras.{name}" for name in KERAS.split()},
    "keras_holdings": "keras.holdings",
    "kernel_products": "keras.kernels",
    "score_agreement": "keras.scores",
    **{f"torch_{name}": f"torch.{name}" for name in TORCH.split()},
    "transposed": "core.linear_maps",
    "torch_measuring": "torch.adapter",
    "torch_modules": "torch.kernels",
    "torch_report": "report",
}


class MovedModules(MetaPathFinder, Loader):
    """Import a module of `NEW` by its former name: both names are the same module."""

    def find_spec(self, fullname, path=None, target=None):
        """The spec of a former name, else None."""
        package, _, name = fullname.rpartition(".")
        return ModuleSpec(fullname, self) if package == PACKAGE and name in NEW else None

    def create_module(self, spec):
        """The module under its new name."""
        module = importlib.import_module(f"{PACKAGE}.{NEW[spec.name.rpartition('.')[2]]}")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        """Give the module its own spec back, which the import has replaced; its code has run."""
        module.__spec__ = module.__spec__.loader_state
