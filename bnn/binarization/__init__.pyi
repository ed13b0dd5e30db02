from .layerwise import Binarized as Binarized
from .layerwise import BinarizedLayer as BinarizedLayer
from .layerwise import binarize as binarize
