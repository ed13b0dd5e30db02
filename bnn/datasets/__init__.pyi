from .catalog import data_folder as data_folder
from .data_set import DataSet as DataSet
from .data_set import Split as Split
from .own import from_arrays as from_arrays
from .own import register as register
from .reading import load as load
from .storing import DataError as DataError
