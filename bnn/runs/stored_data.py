"""The data of a run: read again, named, and compared with what config.json records."""

from bnn import datasets
from bnn.console.errors import expect
from bnn.console.spelling import argument
from bnn.datasets.catalog import ARRAYS, ENTRIES, is_own

KEYS = ("name", "digest", "official")
OWN_KEYS = (*KEYS, "class_names", "stratified")
OTHERWISE = "which handles transparency, EXIF orientation and folders of validation images"


def load(run, data_dir=None, **options):
    """Read the data set of a Run, with its order of classes and kind of split; arguments as for `datasets.load`."""
    if is_own(run.training.data_set):
        options |= {"class_names": run.data.get("class_names", ()), "stratified": run.stratified}
    return datasets.load(run.training.data_set, data_dir, **run.config.data_options, **options)


def record(data_set):
    """Return what config.json keeps of a DataSet. The class names of the catalog are not repeated."""
    kept = {name: getattr(data_set, name) for name in (OWN_KEYS if is_own(data_set.name) else KEYS)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}


def class_names(run):
    """Return the names of a Run's classes in the order of its scores, a tuple of str."""
    names = run.data.get("class_names")
    if names is None and run.training.data_set in ENTRIES:
        names = ENTRIES[run.training.data_set].class_names
    fits = names is not None and len(names) == run.config.inputs.classes
    return tuple(names) if fits else tuple(map(str, range(run.config.inputs.classes)))


def origin(run, data_set):
    """Describe the training data of a Run, and say whether the given DataSet is the same."""
    digest = run.data["digest"]
    if data_set.is_known_as(digest):
        return f"trained on {data_set.label}"
    if is_own(data_set.name):
        if data_set.was_read_as(digest):
            return f"trained on {data_set.name} as an earlier version read it, not this one, {OTHERWISE}"
        return f"trained on {data_set.name} as it was, of SHA-256 {digest[:8]}; the data have changed since"
    what = ENTRIES[data_set.name].variants.get(digest) if data_set.name in ENTRIES else None
    known = f"{data_set.name} ({what})" if what else data_set.name
    return f"trained on {known} of SHA-256 {digest[:8]}, not on this {data_set.label}"


def difference(run, data_set):
    """Say what was expected and received unless a DataSet is the training data of a Run; else an empty text."""
    digest = run.data["digest"]
    if data_set.is_known_as(digest):
        if data_set.name == ARRAYS and data_set.stratified != run.stratified:
            return (
                "expected arrays that are split as the earlier version did that began this run, received a DataSet "
                "that is split by class; give the arrays to bnn.resume(..., data=...)"
            )
        return ""
    if data_set.was_read_as(digest):
        return (
            f"expected images as the earlier version read them that began this run, received those of this version, "
            f"{OTHERWISE}; begin a new run, from its weights with {argument('init_from')}"
        )
    changed = f"; {data_set.name} has changed since" if is_own(data_set.name) else ""
    return f"expected data of SHA-256 {digest}, received {data_set.digest}{changed}"


def check(data, data_set):
    """Raise `ConfigError` unless config.json records a data set of that name."""
    known = {*(OWN_KEYS if is_own(data_set) else KEYS)}
    fits = known - {"stratified"} <= {*data} <= known  # earlier runs lack it
    expect(fits, "data", f"an object with {', '.join(sorted(known))}", data)
    stratified = data.get("stratified", True)
    expect(isinstance(stratified, bool), "data.stratified", "true or false", stratified)
    expect(data["name"] == data_set, "data.name", repr(data_set), data["name"])
    expect(isinstance(data["digest"], str), "data.digest", "a SHA-256", data["digest"])
    expect(isinstance(data["official"], bool), "data.official", "true or false", data["official"])
    names = data.get("class_names", [])
    valid = isinstance(names, list) and all(isinstance(name, str) for name in names)
    expect(valid, "data.class_names", "a list of names", names)
