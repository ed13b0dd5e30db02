"""Three networks of plain Keras layers, trained in full precision, for experiments that quantize them afterwards."""

TRAINING_IMAGES = 20_000


def trained(experiment, name, seed):
    """Train a network in full precision, or load it if it was trained before."""
    import keras

    epochs, path = experiment.settings["epochs"], experiment.place(name, seed, "keras")
    if path.is_file():
        print(f"{path} is finished")
        return keras.saving.load_model(path)
    split = experiment.data.train[: 500 if experiment.quick else TRAINING_IMAGES]
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(split.images.shape[1:], dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    # The shortcuts need 16 channels: with fewer, oneDNN's gradient writes past a buffer (its issue 6035).
    width = 4 if experiment.quick and name != "residual" else 32
    model = keras.Model(inputs, NETWORKS[name](scaled, width), name=name)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * (len(split) // 100))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(split.images, split.labels, 100, epochs, verbose=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    model.save(temporary)
    temporary.replace(path)
    return model


def plain(x, width):
    """Build six convolutions in pairs, with pooling after each pair, and two dense layers."""
    from keras import layers

    for filters in (width, 2 * width, 4 * width):
        for _ in range(2):
            x = normalized(layers.Conv2D(filters, 3, padding="same", use_bias=False)(x))
        x = layers.MaxPooling2D()(x)
    x = normalized(layers.Dense(4 * width, use_bias=False)(layers.Flatten()(x)))
    return layers.Dense(10)(x)


def residual(x, width):
    """Build six blocks of two convolutions with a shortcut, as in ResNet-14 of He et al. (2016)."""
    from keras import layers

    x = normalized(layers.Conv2D(width // 2, 3, padding="same", use_bias=False)(x))
    for filters, strides in ((1, 1), (1, 1), (2, 2), (2, 1), (4, 2), (4, 1)):
        filters *= width // 2
        y = normalized(layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x))
        y = layers.BatchNormalization(momentum=0.9)(
            layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)
        )
        if strides > 1:
            x = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(filters, 1, strides, use_bias=False)(x))
        x = layers.ReLU()(layers.Add()([x, y]))
    return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))


def dense(x, width):
    """Build five dense layers."""
    from keras import layers

    x = layers.Flatten()(x)
    for _ in range(4):
        x = normalized(layers.Dense(16 * width, use_bias=False)(x))
    return layers.Dense(10)(x)


def normalized(x):
    """Apply batch norm and ReLU."""
    from keras import layers

    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


NETWORKS = {"plain": plain, "residual": residual, "dense": dense}
