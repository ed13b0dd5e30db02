"""What an `EinsumDense` layer multiplies: its equation, as groups of dot products at positions."""

import math
import string
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Contraction:
    """The axes of an equation "inputs,kernel->outputs", each a string of letters.

    Attributes:
        inputs: the axes of the inputs. The first is the images.
        kernel: the axes of the kernel.
        positions: axes of the inputs that the kernel does not have and the output keeps.
        groups: axes that inputs, kernel and output share: each index has a kernel of its own.
        contracted: axes that inputs and kernel share and the output does not keep: d is the product of their sizes.
        units: axes of the kernel that the output keeps and the inputs do not have.
        summed: True if an axis of the kernel is in neither the inputs nor the output.
    """

    inputs: str
    kernel: str
    positions: str
    groups: str
    contracted: str
    units: str
    summed: bool

    @classmethod
    def of(cls, equation, rank):
        """Read an equation; `rank` is the number of axes of the inputs, which says what an ellipsis stands for."""
        equation = equation.replace(" ", "")
        named = equation.partition(",")[0].replace("...", "")
        unused = [letter for letter in string.ascii_letters if letter not in equation]
        equation = equation.replace("...", "".join(unused[: rank - len(named)]))
        operands, outputs = equation.split("->")
        inputs, kernel = operands.split(",")
        shared = [axis for axis in kernel if axis in inputs]
        return cls(
            inputs,
            kernel,
            "".join(axis for axis in inputs if axis in outputs and axis not in kernel),
            "".join(axis for axis in shared if axis in outputs),
            "".join(axis for axis in shared if axis not in outputs),
            "".join(axis for axis in kernel if axis in outputs and axis not in inputs),
            any(axis not in inputs + outputs for axis in kernel),
        )

    def reason(self):
        """Why it is not one dot product of length d at each position, or None if it is."""
        if len(set(self.kernel)) < len(self.kernel) or len(set(self.inputs)) < len(self.inputs):
            return "its equation takes a diagonal"
        if self.inputs[0] not in self.positions:
            return "its equation mixes images"
        if self.summed:
            return "its equation sums over an axis of the kernel alone"
        return None if self.contracted else "its equation contracts no axis of the kernel"

    @property
    def keeps_time(self):
        """Whether the second axis of the inputs is a position, so that a mask removes rows."""
        return len(self.inputs) > 1 and self.inputs[1] in self.positions

    def arrange(self, inputs):
        """Inputs as an (images, positions..., groups d) array; axes of the inputs alone are summed."""
        arranged = np.einsum(f"{self.inputs}->{self.positions}{self.groups}{self.contracted}", inputs)
        return arranged.reshape(*arranged.shape[: len(self.positions)], -1)

    def columns(self, kernel):
        """The kernel as a (d, groups, units) array."""
        arranged = np.einsum(f"{self.kernel}->{self.contracted}{self.groups}{self.units}", kernel)
        return arranged.reshape([math.prod(sizes) for sizes in self._sizes(kernel.shape)])

    def restore(self, columns, shape):
        """The inverse of `columns`, for a kernel of the given shape."""
        arranged = columns.reshape([size for sizes in self._sizes(shape) for size in sizes])
        return np.einsum(f"{self.contracted}{self.groups}{self.units}->{self.kernel}", arranged)

    def _sizes(self, shape):
        sizes = dict(zip(self.kernel, shape, strict=True))
        return [[sizes[axis] for axis in axes] for axes in (self.contracted, self.groups, self.units)]
