"""Binary and ternary networks, and the geometry that explains them.

Where to begin; each name is documented by `help`, for example `help(bnn.train)`:

    bnn.train                train a network; the result is a run directory
    bnn.resume               continue an interrupted run
    bnn.open_run             the settings, the log and the networks of a run
    bnn.analyze              the statistics of every layer, of a run, or of a Keras or PyTorch model
    bnn.compare              runs side by side
    bnn.binarize             a trained real network with binary weights, without training
    bnn.predict              the classes and scores of images
    bnn.generate             a text that a language model continues
    bnn.build                a binary, ternary or continuous network, as a Keras model
    bnn.pack                 a trained network as bits
    bnn.models.load_model    a saved network
    bnn.layers               QuantDense, QuantConv2D, QuantActivation, and the quantizers
    bnn.datasets.load        a data set as arrays
    bnn.geometry.angle       the angle between vectors, and its theory, on NumPy arrays
    bnn.plots                every figure of the paper, one function each

The packages:

    geometry    theory and streamed statistics on arrays; needs only NumPy and SciPy
    layers      quantizers with their gradients, quantized layers, batch norm, rotation
    networks    the architectures, one file each, and how they quantize
    settings    what a run is made of: one Config, its presets and its flags
    models      load, traverse, alter, evaluate and size a network
    training    the training loop, its batches, schedule, log and checkpoints
    analysis    every statistic of a network
    binarization  real networks with quantized weights, without training
    plots       every figure
    pages       a report as one page that can be sent
    datasets    data sets: sources, conversion, reading, augmentation
    runs        the run directory
    packed      a trained network as bits: folding, running, its file, ONNX graphs
    bits        words of bits, and their products
    files       files that stay whole when a program is killed
    console     what programs print and read: messages, progress, tables, the error that a user can correct
    commands    the programs

Each is an attribute of `bnn` and loads when it is first used: `bnn.geometry.angle` does not load Keras.
"""

import sys

from bnn.lazy_exports import FormerNames, face

__version__ = "0.1.0"
sys.meta_path.append(FormerNames())
__getattr__, __dir__, __all__ = face(
    __name__,
    "analysis",
    "backend",
    "binarization",
    "bits",
    "commands",
    "console",
    "datasets",
    "files",
    "geometry",
    "layers",
    "models",
    "networks",
    "packed",
    "pages",
    "plots",
    "runs",
    "settings",
    "training",
    analysis=["paper"],
    geometry=["estimators"],
    layers=["optimizers"],
    **{
        "analysis.generation": ["generate"],
        "analysis.prediction": ["predict"],
        "analysis.report": ["analyze"],
        "analysis.side_by_side": ["compare"],
        "binarization.layerwise": ["binarize"],
        "packed.folding": ["pack"],
        "runs.directory": ["open_run"],
        "settings.building": ["build"],
        "training.start": ["resume", "train"],
    },
)
