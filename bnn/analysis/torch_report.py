"""The geometry of a PyTorch model, as a Report."""

from bnn import backend
from bnn.console import silent


def analyze_torch(
    model,
    inputs,
    *,
    quantizer=None,
    activations=None,
    kernel=None,
    batch_size=50,
    score_images=100,
    seed=0,
    progress=silent,
):
    """The geometry of every kernel of a PyTorch model, by forward hooks, in one pass over the inputs.

    Analyzed are Linear, Conv1d to Conv3d and ConvTranspose1d to ConvTranspose3d; the query, key, value and output of
    MultiheadAttention; the inputs' and states' weights of RNN, LSTM and GRU of one layer; of Embedding its angles. The
    model runs in evaluation, without gradients, and is left as it was.

    A module whose `forward` quantizes its own weight is analyzed if `kernel` knows it, or if the quantizer is a
    parametrization of its weight (`torch.nn.utils.parametrize`). Its output must be its input times the quantized
    kernel, plus its bias: inputs are quantized in a module of their own.

    Args:
        model: torch.nn.Module.
        inputs: (n, ...) array or tensor, or a list or dict of these: the positional or keyword arguments of the model,
            images first. They go to the device and the precision of its parameters.
        quantizer: as for `analyze`, for weights that nothing quantizes yet. None: sign.
        activations: as for `analyze`.
        kernel: function from a module to (quantized, latent), tensors in the shape of its weight, and to None for
            modules that do not quantize their weight.
        batch_size: images at a time.
        score_images: as for `analyze`.
        seed: as for `analyze`.
        progress: as for `analyze`.

    Returns:
        Report. r_rotated is NaN where a module has a quantizer of its own that is not the sign.

    Raises:
        QuantizerError: a quantizer's name is unknown.
        ReportError: no module can be analyzed, a weight or an input is not finite, the model does not take the inputs,
            or it has no hooks (a scripted model) or no weights yet (a lazy module).
    """
    backend.load()
    from bnn.analysis import checks, torch_measuring
    from bnn.analysis.report import Report, name_of

    options = {"batch_size": batch_size, "score_images": score_images, "seed": seed, "progress": progress}
    layers, unanalyzed, inputs = torch_measuring.of_model(
        model, inputs, quantizer, activations, kernel, **options
    )
    about = {"quantizer": name_of(quantizer), "activations": name_of(activations)}
    return Report(layers, unanalyzed, about | {"images": checks.count(inputs)})
