"""A fixed random rotation for generalized binarization."""

import keras

from bnn.layers.patches import PatchTransform


@keras.saving.register_keras_serializable("bnn")
class Rotation(PatchTransform):
    """A fixed random rotation of the vectors that the next layer multiplies: x -> R x. R is orthogonal and not trained.

    Together with a following layer with the quantizer theta, it computes the generalized binarization transformation
    (paper, section 3). Let v be the latent kernel of that layer and x a patch of this layer's input. The product is

        theta(v) . R x  =  R' theta(R w) . x  =  theta_R(w) . x,  where w = R' v.

    The kernel is quantized in a random basis. Therefore its angle to w is that of random vectors for any principal
    components of x. The straight-through estimator also acts in that basis. R is drawn uniformly from the orthogonal
    matrices. Shapes are those of `PatchTransform`.

    Args:
        kernel_size: int, side of the square patches; 1 for vectors.

    Raises:
        ValueError: kernel_size is not a positive whole number.
    """

    initializer = "orthogonal"

    @property
    def rotation(self):
        """The (d, d) weight, whose column i holds row i of R."""
        return self.matrix
