"""Every figure, in one style.

`theory` draws the closed forms, `network` a trained network beside theory and paper, `overview` what analyze.py
draws of any network; `style` and `primitives` are what they share.
"""

from bnn.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    primitives=["density", "dot_products", "legend_below", "points", "reference"],
    style=[
        "BLACK",
        "BLUE",
        "COLOURS",
        "GREEN",
        "GREY",
        "ORANGE",
        "PURPLE",
        "SHADE",
        "SKY",
        "STYLE",
        "YELLOW",
        "figure",
        "in_style",
        "save",
        "sequence",
        "show",
        "use_style",
    ],
)
