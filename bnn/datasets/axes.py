"""Images whose axis of channels is not where it should be, and the line that moves it."""


def is_channels_first(shape):
    """Whether the shape of one image, three sizes, is that of (channels, height, width), as in PyTorch.

    A picture of one row of pixels with up to 16 channels is taken as it is, unless it would be square.
    """
    first, height, width = shape
    few = first <= 4 < min(height, width) and (first > 1 or height == width or width > 16)
    return few or first <= 16 < height == width


def hint(received, wanted):
    """Return the end of a message, the line that mends an array of another order of axes; "" if none does.

    Args:
        received: shape of an array of images, or of one image.
        wanted: shape of one image; None for a size that is free.
    """
    image = received[-len(wanted) :] if len(wanted) else ()
    count = len(received) - len(image)
    if len(image) < 3 or count > 1:
        return ""
    for moved, line in (
        ((*image[1:], image[0]), f"np.moveaxis(images, {count}, -1)"),
        ((image[-1], *image[:-1]), f"np.moveaxis(images, -1, {count})"),
    ):
        if all(size in (None, other) for size, other in zip(wanted, moved, strict=True)):
            return f"; use {line}"
    return ""
