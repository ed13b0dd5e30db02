"""The networks: one readable file per architecture, which holds its settings and its graph.

`NETWORKS` lists them by name. A network of your own is a subclass of `Network` with the decorator `register`; its
`graph` makes layers with `Blocks` or with Keras. Nothing here loads Keras before a network is built.
"""

from bnn.lazy_exports import face

__getattr__, __dir__, __all__ = face(
    __name__,
    base=["BatchNormalized", "Inputs", "Network", "setting"],
    bireal=["BiReal", "ReActNet"],
    blocks=["Blocks"],
    building=["build"],
    gpt=["GPT"],
    quantization=["Quantization"],
    recurrent=["Recurrent"],
    table=["NETWORKS", "register"],
    vgg=["VGG"],
)
