"""Shards of the analysis of a PyTorch model."""

import numpy as np
import pytest

from bnn.analysis import ReportError, analyze, analyze_shard, merge_shards
from tests.support import assert_same_report

torch = pytest.importorskip("torch", reason="PyTorch is not installed here: make test-torch")
nn = torch.nn

IMAGES = np.random.default_rng(0).standard_normal((7, 2, 6, 6)).astype(np.float32)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


@pytest.mark.parametrize("of", [2, 7])
@pytest.mark.parametrize("images", [IMAGES, torch.from_numpy(IMAGES), {"input": IMAGES}])
def test_a_division_gives_the_report_of_one_process(model, tmp_path, of, images):
    options = {"batch_size": 2, "seed": 1}
    whole = analyze(model, images, cost_images=3, **options)
    for number in range(of, 0, -1):
        analyze_shard(model, images, shard=(number, of), folder=tmp_path, **options)
    merged = merge_shards(model, images, folder=tmp_path, cost_images=3, **options)
    assert_same_report(merged, whole, tolerance=1e-5)


def test_a_shard_of_other_weights_or_images_is_refused(model, tmp_path):
    for number in (1, 2):
        analyze_shard(model, IMAGES, shard=(number, 2), folder=tmp_path)
    with pytest.raises(ReportError, match=r"2-of-2\.npz: expected a shard of these images"):
        merge_shards(model, np.concatenate([IMAGES[:6], IMAGES[:1]]), folder=tmp_path)
    with torch.no_grad():
        model[1].running_var[0] += 1
    with pytest.raises(ReportError, match=r"1-of-2\.npz: expected a shard of this model"):
        merge_shards(model, IMAGES, folder=tmp_path)
