from . import analysis as analysis
from . import backend as backend
from . import bits as bits
from . import commands as commands
from . import console as console
from . import datasets as datasets
from . import files as files
from . import geometry as geometry
from . import layers as layers
from . import models as models
from . import networks as networks
from . import packed as packed
from . import plots as plots
from . import runs as runs
from . import settings as settings
from . import training as training
from .analysis.prediction import predict as predict
from .analysis.report import analyze as analyze
from .analysis.side_by_side import compare as compare
from .packed.folding import pack as pack
from .runs.directory import open_run as open_run
from .settings.building import build as build
from .training.start import resume as resume
from .training.start import train as train

__version__: str
