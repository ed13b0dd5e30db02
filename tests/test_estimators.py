"""The table of estimators: every entry gives quantizers and is described in docs/training.md."""

import importlib

import keras
import pytest

from bnn.geometry.estimators import ESTIMATORS, as_setting, from_setting, meanings
from bnn.layers import Sign, Ternary, ste_sign
from bnn.layers import quantizers as factories
from tests.support import ROOT

ENTRIES = pytest.mark.parametrize("entry", ESTIMATORS.values(), ids=ESTIMATORS)


@ENTRIES
def test_entries_give_quantizers_with_their_levels(entry):
    assert ESTIMATORS[entry.name] is entry
    assert tuple(entry.kernel) == tuple(entry.activation) == entry.levels
    for place in (entry.kernel, entry.activation):
        for levels, name in place.items():
            threshold = (0.1,) if entry.takes_threshold and levels == 3 else ()
            assert getattr(factories, name)(*threshold).levels == levels


def test_an_entry_leaves_kernels_only_if_ste_would_quantize_them_differently():
    """An exception for kernels that equals `ste` would be redundant."""
    assert all(
        entry.kernel != ESTIMATORS["ste"].kernel for entry in ESTIMATORS.values() if entry.leaves_kernels
    )


@ENTRIES
def test_help_and_documentation_describe_every_entry(entry):
    assert f"{entry.name}: {entry.forward}, gradient {entry.gradient}" in meanings()
    row = next(
        r
        for r in (ROOT / "docs" / "training.md").read_text().splitlines()
        if r.startswith(f"| `{entry.name}` |")
    )
    shown = row.replace("\\|", "|")
    assert all(text in shown for text in (entry.forward, entry.gradient, entry.reference))


@pytest.fixture
def registered():
    @keras.saving.register_keras_serializable()
    def registered_sign(x):
        return ste_sign(x)

    yield registered_sign
    del keras.saving.get_custom_objects()["Custom>registered_sign"]


def test_registered_functions_and_classes_become_names(registered):
    assert as_setting(registered) == "Custom>registered_sign"
    assert as_setting(Sign) == "bnn>Sign"
    assert as_setting(ste_sign) == "bnn>ste_sign"


def test_objects_of_registered_classes_become_names_with_their_config():
    assert as_setting(Sign()) == "bnn>Sign"
    assert as_setting(Ternary(0.25)) == 'bnn>Ternary{"threshold": 0.25}'
    assert from_setting('bnn>Ternary{"threshold": 0.25}') == ("bnn>Ternary", {"threshold": 0.25})


@pytest.mark.parametrize(
    "value",
    [None, "ste", "nonsense", 3, keras.Model(), lambda x: x],
    ids=[
        "none",
        "a name",
        "an unknown name",
        "a number",
        "an object that Keras saves otherwise",
        "a function",
    ],
)
def test_any_other_value_is_not_changed(value):
    assert as_setting(value) is value


def test_a_function_whose_registered_name_was_replaced_is_not_changed(registered):
    @keras.saving.register_keras_serializable(name="registered_sign")
    def other(x):
        return x

    assert as_setting(registered) is registered
    assert as_setting(other) == "Custom>registered_sign"


def test_the_table_needs_no_keras(monkeypatch):
    monkeypatch.delitem(importlib.import_module("sys").modules, "keras")
    assert as_setting(ste_sign) is ste_sign
