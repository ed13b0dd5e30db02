"""The weight of a PyTorch module, and its product with the input, as a linear map and with its shapes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from bnn.analysis.core.linear_maps import Convolution, Dense, TransposedConvolution
from bnn.analysis.core.product import Call


def array(tensor):
    """Copy a tensor to a float32 NumPy array; a copy, because modules may change their input."""
    return np.array(tensor.detach().float().cpu().numpy())


@dataclass(frozen=True)
class Form:
    """How the weight of a module is multiplied with its input."""

    linear: Dense | Convolution | TransposedConvolution
    columns: Callable
    restore: Callable
    arrange: Callable


STORED = "stored"  # a parameter or buffer, which can be replaced
COMPUTED = "computed"  # from others, as by weight norm: it cannot be replaced
MULTIPLIED = "multiplied"  # given by `kernel`: the module multiplies by it
LATENT = "latent"  # the module multiplies by a quantized kernel that it makes of this one


@dataclass(frozen=True)
class Weight:
    """The source of a kernel: a tensor of a module, or some of its rows.

    Attributes:
        parameter: torch.Tensor.
        rows: slice of its first axis, or None for all.
        role: STORED, COMPUTED, MULTIPLIED or LATENT.
        quantized: torch.Tensor, the quantized kernel of a latent one; None for others.
    """

    parameter: object
    rows: slice | None = None
    role: str = STORED
    quantized: object = None

    @property
    def tensor(self):
        """The values: a tensor that shares the memory of the parameter."""
        values = self.parameter.detach()
        return values if self.rows is None else values[self.rows]

    @property
    def sources(self):
        """The tensors that a row shows."""
        return [tensor for tensor in (self.parameter, self.quantized) if tensor is not None]

    @staticmethod
    def of(module):
        """The Weight of a module with the attribute `weight`."""
        weight, own = module.weight, (module._parameters, module._buffers)
        stored = any(value is weight for values in own for value in values.values())
        plain = vars(module).get("weight") is weight and not module._forward_pre_hooks
        return Weight(weight, role=STORED if stored or plain else COMPUTED)


def unreal(tensor):
    """The reason if the values of a kernel are no finite real numbers, else None."""
    if not tensor.numel():
        return f"its weight of shape {tuple(tensor.shape)} is empty"
    if tensor.is_complex():
        return "its weight is complex"
    return None if np.isfinite(array(tensor)).all() else "its weight is not finite"


def form_of(module, weight, turned=False):
    """The Form of a module, or the reason why it has none; without attributes it is a plain convolution.

    Args:
        module: torch.nn.Module.
        weight: torch.Tensor.
        turned: bool, whether a weight of two axes is (d, units), as in GPT-2's Conv1D, and not (units, d).
    """
    from torch import nn

    if weight.dim() == 2 and turned:
        return Form(
            Dense(), lambda w: w[:, None], lambda w, _: w[:, 0], lambda seen: Call(array(seen.inputs))
        )
    if weight.dim() == 2:
        return Form(Dense(), lambda w: w.T[:, None], dense_shape, lambda seen: Call(array(seen.inputs)))
    rank = weight.dim() - 2
    if rank not in (1, 2, 3):
        return f"its weight has {weight.dim()} axes"
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return f"its padding is {module.padding_mode}, not zeros"
    size, groups = tuple(weight.shape[2:]), getattr(module, "groups", 1)
    strides, dilation = (_per_axis(getattr(module, key, 1), rank) for key in ("stride", "dilation"))
    padding = getattr(module, "padding", 0)
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        padding, more = (_per_axis(value, rank) for value in (padding, module.output_padding))
        extra = tuple(
            step * (k - 1) + 1 + out - 2 * p - s
            for k, step, s, p, out in zip(size, dilation, strides, padding, more, strict=True)
        )
        linear = TransposedConvolution(size, strides, dilation, padding, extra, groups)
        columns, restore = partial(_transposed_columns, groups), partial(_transposed_shape, groups)
        return Form(linear, columns, restore, partial(_channels_last, rank_of(linear)))
    linear = Convolution(size, strides, dilation, _borders(padding, size, dilation), groups)
    arrange = partial(_channels_last, rank_of(linear))
    return Form(linear, partial(_columns, groups), _conv_shape, arrange)


def rank_of(linear):
    """Return the number of axes of one input of a linear map, with that of channels or features."""
    return 1 if isinstance(linear, Dense) else 1 + len(linear.kernel_size)


def _per_axis(value, rank):
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _borders(padding, size, dilation):
    """The numbers of padded zeros (before, after) along each axis."""
    if padding == "same":
        totals = [step * (k - 1) for k, step in zip(size, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    padding = 0 if padding == "valid" else padding
    return tuple((border, border) for border in _per_axis(padding, len(size)))


def _columns(groups, weight):
    """Rearrange (units, channels, sizes...) to (d, groups, units)."""
    return np.moveaxis(weight, (0, 1), (-1, -2)).reshape(-1, groups, len(weight) // groups)


def _conv_shape(columns, shape):
    units, channels, *size = shape
    return np.moveaxis(columns.reshape(*size, channels, units), (-1, -2), (0, 1))


def _transposed_columns(groups, weight):
    """Rearrange (channels, units, sizes...) to (d, groups, units) of the convolution with stride 1."""
    size = weight.shape[2:]
    split = weight.reshape(groups, -1, weight.shape[1], *size)
    turned = np.flip(np.moveaxis(split, (1, 0, 2), (-3, -2, -1)), range(len(size)))
    return turned.reshape(-1, groups, weight.shape[1])


def _transposed_shape(groups, columns, shape):
    channels, units, *size = shape
    turned = np.flip(columns.reshape(*size, channels // groups, groups, units), range(len(size)))
    return np.moveaxis(turned, (-3, -2, -1), (1, 0, 2)).reshape(shape)


def dense_shape(columns, _):
    """Return the columns of a dense kernel in the shape of its weight, (units, d)."""
    return columns[:, 0].T


def _channels_last(rank, seen):
    inputs = array(seen.inputs)
    if inputs.ndim == rank:
        inputs = inputs[None]
    return Call(np.moveaxis(inputs, 1, -1))
