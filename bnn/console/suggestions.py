"""What a mistyped word may mean: the one place where names are compared."""

import difflib

# Names that other libraries give to our settings, in plain form, and ours; the first that is allowed is meant.
ELSEWHERE = {
    "learningrate": ("lr_start",),
    "lr": ("lr_start",),
    "minlr": ("lr_end",),
    "numepochs": ("epochs",),
    "nepochs": ("epochs",),
    "filters": ("conv",),
    "channels": ("conv",),
    "units": ("fc",),
    "dense": ("fc",),
    "hidden": ("fc",),
    "kernelsize": ("filter_size",),
    "pool": ("max_pool",),
    "pooling": ("max_pool",),
    "ternary": ("levels",),
    "binary": ("sign",),
    "stesign": ("ste",),
    "absmeanternary": ("absmean",),
    "twn": ("optimal_ternary",),
    "bits": ("levels",),
    "quantizer": ("kernel_quantizer", "estimator"),
    "dtype": ("precision",),
    "mixedprecision": ("precision",),
    "momentum": ("bn_decay",),
    "model": ("network",),
    "output": ("run_dir",),
    "outputdir": ("run_dir",),
    "force": ("overwrite",),
}


def did_you_mean(word, known):
    """A question that ends an error message: "; did you mean --data_set?", or nothing where no name is close.

    Args:
        word: str, what was typed. Case, and hyphens or underscores, do not count.
        known: iterable of str, the names that are allowed.
    """
    word, names = _plain(str(word)), {_plain(name): name for name in known}
    meant = [_plain(name) for name in ELSEWHERE.get(word, ())] if word not in names else []
    close = [name for name in meant if name in names] or difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {names[close[0]]}?" if close else ""


def _plain(name):
    return name.lower().replace("-", "").replace("_", "")
