"""The analysis in shards, of more images than one process or one machine measures: each a part, then the whole.

All that a layer accumulates can be added up, and what is drawn at random for an image depends only on the seed and the
image's index. So the merged report is that of one process, up to the order of sums. `r_scores` and `cost` need the
slope of a layer over all images, so they are measured when the shards are merged, of as few images as always.
"""

import os

import numpy as np

from bnn.analysis import report
from bnn.analysis.core import fitting, measuring, shards
from bnn.analysis.core.checks import ReportError, checked_labels
from bnn.analysis.core.layer_geometry import UnanalyzableError
from bnn.console import silent
from bnn.console.arguments import expanded
from bnn.console.spelling import argument, option
from bnn.models import inputs, load_images


def analyze_shard(
    network,
    images=None,
    *,
    shard,
    folder,
    quantizer=None,
    kernel=None,
    batch_size=50,
    seed=0,
    data_dir=None,
    progress=silent,
):
    """Measure one part of the images, and write what was measured for `merge_shards`.

    Args:
        network: as for `analyze`.
        images: as for `analyze`: all images, of which only those of the shard are read, and the first batch.
        shard: str, such as "2/4", or (2, 4): the second of four parts. There may be as many as images.
        folder: str or Path, the folder of the report; the file is its `shards/2-of-4.npz`.
        quantizer: as for `analyze`, but levels cannot be "fitted".
        kernel: as for `analyze`.
        batch_size: as for `analyze`; the same for all shards, as the cells of the histograms depend on the first batch.
        seed: as for `analyze`.
        data_dir: as for `analyze`.
        progress: as for `analyze`.

    Returns:
        Path of the file.

    Raises:
        ReportError: there are fewer images than shards, or as for `analyze`.
        ConfigError, RunError, DataError, ModelError: as for `analyze`.
        WriteError: the file cannot be written.
    """
    shard = shards.shard(shard)
    function = _function(quantizer)
    subject = report.subject_of(network, images, data_dir, right=0)
    given = _arrays(subject)
    n = inputs.count(given)
    if shard.of > n:
        raise ReportError(f"{argument('shard')}: expected at most {n} shards of {n} images, received {shard}")
    first, last = shard.bounds(n)
    own = _rows(given, first, last)
    with report.wing(subject.model).adapted(subject.model, own, function, kernel, batch_size) as adapter:
        measuring.check_quantizer(adapter, function, quantizer)
        layers = measuring.layers_of(adapter, n, seed)
        about = {"model": shards.digest_of_model(adapter), "data": shards.digest_of_images(adapter.images)}
        _begin(layers, adapter, given, (first, last), batch_size, seed)
        measuring.take(layers, adapter, first, batch_size, progress)
        about["unanalyzed"] = adapter.unanalyzed
    about["settings"] = _settings(quantizer, seed, batch_size, n)
    about["right"] = _right(subject, shard)
    return shards.Part(shard, about, {layer.name: layer.state() for layer in layers}).save(expanded(folder))


def merge_shards(
    network,
    images=None,
    *,
    folder,
    quantizer=None,
    kernel=None,
    batch_size=50,
    score_images=100,
    cost_images=0,
    labels=None,
    seed=0,
    data_dir=None,
    progress=silent,
):
    """Merge the shards in the folder of a report into the report of all images; arguments as for `analyze`.

    Args:
        network: that of the shards.
        images: all images.
        folder: str or Path, in which `analyze_shard` wrote.
        quantizer: that of the shards.
        kernel: that of the shards.
        batch_size: that of the shards.
        score_images: as for `analyze`.
        cost_images: as for `analyze`.
        labels: as for `analyze`.
        seed: that of the shards.
        data_dir: as for `analyze`.
        progress: as for `analyze`.

    Returns:
        Report, that of `analyze` with these arguments.

    Raises:
        ReportError: a shard is missing or damaged, or was measured of another model, of other images or with other
            settings; or as for `analyze`.
        ConfigError, RunError, DataError, ModelError: as for `analyze`.
    """
    folder, function = expanded(folder), _function(quantizer)
    parts = shards.load_all(folder)
    rights = [part.about.get("right") for part in parts]
    right = None if None in rights else sum(rights)
    subject = report.subject_of(network, images, data_dir, right)
    given = _arrays(subject)
    with report.wing(subject.model).adapted(subject.model, given, function, kernel, batch_size) as adapter:
        measuring.check_quantizer(adapter, function, quantizer)
        n = inputs.count(adapter.images)
        same = {
            "settings": _settings(quantizer, seed, batch_size, n),
            "model": shards.digest_of_model(adapter),
        }
        layers = measuring.layers_of(adapter, n, seed)
        for part in parts:
            rows = _rows(adapter.images, *part.shard.bounds(n))
            shards.expect_same(part, folder, same | {"data": shards.digest_of_images(rows)})
            _add(part, layers, adapter.unanalyzed, folder)
        more = {
            "score_images": score_images,
            "cost_images": cost_images,
            "labels": checked_labels(labels, adapter.images),
            "seed": seed,
            "progress": progress,
        }
        reports, undefined = measuring.reported(adapter, layers, batch_size, **more)
    return report.finished(subject, adapter, reports, undefined, quantizer, None)


def _function(quantizer):
    """The quantizer as a function; `ReportError` for levels whose fit needs the inputs of all shards."""
    function = measuring.as_function(quantizer)
    if isinstance(function, fitting.Fitted):
        raise ReportError(
            f"{argument('quantizer')}: expected one that does not depend on the images, received {quantizer!r}, whose "
            "levels are fitted to half of them all; quantize the model first, with bnn.binarize, or measure it whole"
        )
    return function


def _settings(quantizer, seed, batch_size, n):
    return {"quantizer": report.name_of(quantizer), "seed": seed, "batch_size": batch_size, "images": n}


def _arrays(subject):
    """The images of a subject as arrays, of which rows can be taken."""
    if isinstance(subject.images, str | os.PathLike):
        return load_images(subject.images, subject.model)
    return inputs.plain(subject.images)


def _rows(images, first, last):
    return inputs.mapped(lambda array: array[first:last], images)


def _begin(layers, adapter, images, bounds, batch_size, seed):
    """Give layers the cells of their histograms, which depend on the first batch of all that has data for them.

    Args:
        layers: list of LayerGeometry without data.
        adapter: `core.adapter.Adapter`; it has its own images at the end.
        images: all images.
        bounds: (first, last) of the shard, whose own first batch is that of all images if it begins with them.
        batch_size: int.
        seed: int.
    """
    own, n, (first, last) = adapter.images, inputs.count(images), bounds
    if first == 0 and (last == n or last % batch_size == 0):
        return
    scouts = measuring.layers_of(adapter, n, seed)
    for start in range(0, last, batch_size):
        adapter.use(_rows(images, start, start + batch_size), batch_size)
        measuring.take(scouts, adapter, start, batch_size, silent)
        if all(
            scout.histograms or scout.name in adapter.unanalyzed for scout in scouts if scout.product.linear
        ):
            break
    adapter.images = own
    for layer, scout in zip(layers, scouts, strict=True):
        layer.begin_like(scout)


def _right(subject, shard):
    """How many of the shard's part of all test images a run classifies correctly; None without test images."""
    if subject.test is None:
        return None
    from bnn.models.evaluation import correct

    first, last = shard.bounds(len(subject.test))
    return int(np.count_nonzero(correct(subject.model, subject.test[first:last]))) if last > first else 0


def _add(part, layers, unanalyzed, folder):
    """Add a part to the layers, and the reasons why layers cannot be analyzed."""
    for name, reason in part.about["unanalyzed"].items():
        unanalyzed.setdefault(name, reason)
    for layer in layers:
        if layer.name in unanalyzed:
            continue
        try:
            layer.add(part.states[layer.name])
        except UnanalyzableError as error:
            unanalyzed[layer.name] = str(error)
        except (LookupError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ReportError(
                f"{part.shard.path(folder)}: expected what was measured of {layer.name}, received another state "
                f"({reason}); measure it again with {option('shard', str(part.shard))}"
            ) from None
