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
    """Measure the geometry of every kernel of a PyTorch model with forward hooks, in one pass over the inputs.

    The analyzed kernels are those of Linear, Conv1d to Conv3d and ConvTranspose1d to ConvTranspose3d; the query, key,
    value and output of MultiheadAttention; and the input and recurrent weights of RNN, LSTM and GRU with one layer. For
    Embedding, only the angles are given. A module of another class is analyzed if its output is, or holds, its input
    times its `weight`, (units, d) as in Linear or (d, units) as in GPT-2's Conv1D, with or without its `bias`. Every
    other module that holds a weight, or 16 or more numbers in parameters, buffers or attributes, is named in
    `Report.unanalyzed`, except norms and biases. The model runs in evaluation mode, without gradients and without
    `torch.compile`, and is not changed.

    A module whose `forward` quantizes its own weight is analyzed if `kernel` recognizes it, or if the quantizer is a
    parametrization of its weight (`torch.nn.utils.parametrize`). Its output must be, or hold, its input times the
    quantized kernel, with or without its bias; so inputs must be quantized in another module.

    Args:
        model: torch.nn.Module.
        inputs: (n, ...) array or tensor, or a list or Mapping of these: the positional or keyword arguments of the
            model, images first. A Mapping may also hold lists of numbers, and None. They are converted to the device
            and the precision of its parameters.
        quantizer: as for `analyze`, for weights that are not quantized yet. None: sign.
        activations: as for `analyze`.
        kernel: function from a module to (quantized, latent), tensors in the shape of its weight, of which it
            multiplies by the first; to one tensor, by which it multiplies and which `quantizer` is to quantize, such as
            a standardized weight; and to None for modules that multiply by their weight.
        batch_size: int, number of images at a time.
        score_images: as for `analyze`.
        seed: as for `analyze`.
        progress: as for `analyze`.

    Returns:
        Report. r_rotated is NaN for modules with their own quantizer, unless it is the sign. r_scores is None for a
        weight that is computed from others, as by weight norm. Where modules share a weight, r_scores replaces it in
        the calls of one of them. Which axis of a module's inputs is that of the images, such as the second in layers
        with `batch_first=False`, is found with two small batches; inputs without such an axis have no row.

    Raises:
        QuantizerError: a quantizer's name is unknown.
        ReportError: no module can be analyzed, a weight or an input is not finite, the model refuses the inputs, or it
            has no hooks (a scripted model), no weights yet (a lazy module) or no values (the meta device).
    """
    backend.load()
    from bnn.analysis.report import Report, name_of
    from bnn.analysis.torch import measuring
    from bnn.models.inputs import count

    options = {"batch_size": batch_size, "score_images": score_images, "seed": seed, "progress": progress}
    layers, unanalyzed, undefined, inputs = measuring.of_model(
        model, inputs, quantizer, activations, kernel, **options
    )
    about = {"quantizer": name_of(quantizer), "activations": name_of(activations)}
    return Report(layers, unanalyzed, about | {"images": count(inputs)}, undefined=undefined)
