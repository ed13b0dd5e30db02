"""Networks from settings by name, or from a Config."""

from bnn.networks.building import build as build_parts
from bnn.settings.config import TrainConfig, expect_names, names, plain, resolve


def build(*, kernel_quantizer=None, activation_quantizer=None, precision="float32", **settings):
    """Build a network from its settings. The network is not compiled.

    Args:
        kernel_quantizer: quantizer of the kernels: a name, such as "sign" or "lloyd-max:4", see
            `bnn.geometry.estimators.get`, or a function from a float tensor to a tensor of the same shape and dtype. A
            class is called without arguments, once per layer. None means the quantizer of the setting `estimator`.
        activation_quantizer: quantizer of the activations, in the same form.
        precision: "float32" or "bfloat16", the arithmetic of the layers. Variables and outputs are float32.
        **settings: settings of the network, of its quantization and its inputs, such as input_shape=(28, 28, 1),
            conv=(32, 64), max_pool=(1, 1), fc=(128,), levels=3. Lists are allowed instead of tuples. The threshold of a
            ternary network is the paper's, 0.02, unless it is given. network="vgg-small" gives the settings of a
            network in `bnn.networks.NETWORKS`, without those of its training; it may also be a Network.

    Returns:
        keras.Model, see `bnn.networks.build`. It can be saved like any other model. Before you load it, register your
        own functions with `keras.saving.register_keras_serializable`, or pass them as `custom_objects`.

    Raises:
        ConfigError: a setting is out of range.
        TypeError: a setting is unknown.
    """
    given = {"kernel_quantizer": kernel_quantizer, "activation_quantizer": activation_quantizer}
    own = {name: quantizer for name, quantizer in given.items() if callable(quantizer)}
    named = {name: f"Custom>{getattr(q, '__name__', type(q).__name__)}" for name, q in own.items()}
    training = {name: value for name, value in settings.items() if name in names(TrainConfig)}
    expect_names(training, [], error=TypeError)
    config = resolve(plain(settings) | given | named, preset={}, error=TypeError)
    makers = config.quantization.makers({name: _maker(quantizer) for name, quantizer in own.items()})
    return build_parts(config.network, config.quantization, config.inputs, precision, makers)


def _maker(quantizer):
    return quantizer if isinstance(quantizer, type) else lambda: quantizer


def build_model(config, precision="float32"):
    """Build the network of a `bnn.settings.Config` (or of a `ModelConfig`); see `bnn.networks.build`."""
    return config.build(precision)
