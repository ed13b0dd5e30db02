"""Arrays for a model of several inputs: by name in any Mapping and structure, and refused if a name does not fit."""

from collections import UserDict

import keras
import numpy as np
import pytest
from keras import layers

from bnn.analysis import ReportError, analyze
from bnn.analysis.keras.geometry_log import measure
from bnn.console.errors import ModelError
from bnn.models import refit_batch_norm, scores
from bnn.models.inputs import as_built

RNG = np.random.default_rng(0)
WIDE, DEEP = 3 * RNG.standard_normal((20, 6)).astype(np.float32) + 1, RNG.random((20, 6), np.float32)
BUILT = {
    "list": lambda wide, deep: [wide, deep],
    "tuple": lambda wide, deep: (deep, wide),
    "dict": lambda wide, deep: {"wide": wide, "deep": deep},
    "nested": lambda wide, deep: [{"deep": deep}, wide],
}


def network(built):
    keras.utils.set_random_seed(0)
    wide, deep = keras.Input((6,), name="wide"), keras.Input((6,), name="deep")
    hidden = layers.BatchNormalization()(layers.Dense(8, activation="relu")(deep))
    return keras.Model(built(wide, deep), layers.Dense(3)(layers.concatenate([hidden, wide])))


@pytest.fixture(params=BUILT.values(), ids=BUILT)
def model(request):
    return network(request.param)


def test_names_decide_in_every_structure(model):
    structure = model.input
    expected = model(
        keras.tree.map_structure(lambda t: WIDE if t.name == "wide" else DEEP, structure)
    ).numpy()
    for given in ({"wide": WIDE, "deep": DEEP}, {"deep": DEEP, "wide": WIDE}, UserDict(wide=WIDE, deep=DEEP)):
        np.testing.assert_allclose(scores(model, given, batch_size=7), expected, atol=1e-5)
        first = analyze(model, given, score_images=0, activations="sign")[0]
        np.testing.assert_array_equal(np.unique(first.patches, axis=0), np.unique(DEEP, axis=0))
        assert measure(model, given)[0]["r_weights"] == pytest.approx(first.r_weights, abs=1e-5)


def test_missing_and_unknown_names_are_refused(model):
    for given in ({"wide": WIDE}, {"wide": WIDE, "depth": DEEP}, {"wide": WIDE, "deep": DEEP, "more": DEEP}):
        with pytest.raises(ReportError, match=f"expected arrays named .*, received {', '.join(given)}"):
            analyze(model, UserDict(given))
        for function in (scores, refit_batch_norm):
            with pytest.raises(ModelError, match="expected arrays named"):
                function(model, given)


def test_a_list_has_the_order_of_the_inputs_if_they_have_one():
    for name in ("list", "tuple", "nested"):
        model = network(BUILT[name])
        arrays = [WIDE if tensor.name == "wide" else DEEP for tensor in model.inputs]
        by_name = scores(model, {"wide": WIDE, "deep": DEEP})
        np.testing.assert_array_equal(scores(model, arrays), by_name)
        with pytest.raises(ModelError, match="an array for each of 2 inputs, received 1; they are named"):
            scores(model, [WIDE])
    with pytest.raises(ModelError, match="expected a dict with arrays named wide, deep, received a list"):
        scores(network(BUILT["dict"]), [WIDE, DEEP])


def test_one_input_takes_its_name_or_none():
    given = keras.Input((6,), name="wide")
    model = keras.Model(given, layers.Dense(2)(given))
    for arrays in (WIDE, [WIDE], {"wide": WIDE}):
        assert as_built(model, arrays) is WIDE
    with pytest.raises(ModelError, match="expected arrays named wide, received deep"):
        as_built(model, {"deep": WIDE})


def test_batch_norm_is_refitted_with_several_inputs():
    model, hidden = network(BUILT["list"]), None
    refit_batch_norm(model, {"deep": DEEP, "wide": WIDE}, batch_size=20)
    dense, norm = model.get_layer(index=1), next(n for n in model.layers if "batch" in n.name)
    hidden = dense(DEEP).numpy()
    np.testing.assert_allclose(norm.moving_mean.numpy(), hidden.mean(axis=0), atol=1e-5)


class Sum(layers.Layer):
    def call(self, first, second=None):
        return first if second is None else first + second

    def compute_output_shape(self, first_shape, second_shape=None):
        return first_shape


def test_none_leaves_out_an_optional_input():
    keras.utils.set_random_seed(0)
    wide, deep = keras.Input((6,), name="wide"), keras.Input((6,), name="deep", optional=True)
    norm, last = layers.BatchNormalization(), layers.Dense(3)
    model = keras.Model([wide, deep], last(norm(Sum()(wide, deep))))
    twin = keras.Model(wide, last(norm(wide)))
    for given in ([WIDE, None], {"deep": None, "wide": WIDE}):
        np.testing.assert_array_equal(scores(model, given, batch_size=7), scores(twin, WIDE, batch_size=7))
        found, expected = analyze(model, given)[0].statistics(), analyze(twin, WIDE)[0].statistics()
        assert found == pytest.approx(expected, nan_ok=True)
        refit_batch_norm(model, given, batch_size=20)
        np.testing.assert_allclose(norm.moving_mean.numpy(), WIDE.mean(axis=0), atol=1e-5)
    for given in ([None, WIDE], {"wide": None, "deep": None}):
        with pytest.raises(ReportError, match="expected an array for the input wide, received None"):
            analyze(model, given)


def test_a_mapping_may_hold_lists_of_numbers():
    model = network(BUILT["list"])
    given = UserDict(wide=WIDE.tolist(), deep=[list(row) for row in DEEP])
    np.testing.assert_allclose(scores(model, given), scores(model, [WIDE, DEEP]), atol=1e-5)
    given["deep"][1] = [0.0]
    with pytest.raises(ModelError, match="rows of one length in 'deep', received several lengths"):
        scores(model, given)
