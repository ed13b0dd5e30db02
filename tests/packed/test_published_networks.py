"""The networks of results/, packed: they are small, and classify all available test images as in float32."""

import pytest

from bnn import packed, runs
from tests.guarantees.test_shipped import SHIPPED, first_test_images

LARGEST = {"cifar-10-binary": 1_850_000, "cifar-10-tuned": 1_850_000, "mnist-conv-binary": 120_000}  # bytes


@pytest.mark.slow
@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.parent.name)
def test_all_test_images(folder, tmp_path):
    run = runs.open_run(folder)
    model = packed.reference(run)
    assert packed.save(packed.fold(model), tmp_path / "p.npz") <= LARGEST[folder.parent.name]
    images = first_test_images(run, 10_000).images
    found = packed.compare(packed.load(tmp_path / "p.npz"), model, images)
    assert found.unexplained == 0
    first = next(iter(found.others))
    assert found.others[first] <= 1e-6 * found.activations[first]
    assert found.same >= 0.999 * len(images)
    if found.others[first] == 0:
        assert found.same == len(images)
        assert found.largest < 1e-4
