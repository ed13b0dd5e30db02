"""A small language model of characters: a transformer whose products are those of 1-bit language models."""

from dataclasses import dataclass

from bnn.console.errors import expect, one_of, setting
from bnn.networks.base import MAX_LAYERS, MAX_SIZE, Network

CHARACTERS = 65  # of tiny-shakespeare
ESTIMATORS = {2: "centered_sign", 3: "absmean"}  # the quantizer of kernels, by the number of levels
PARTS = ("query", "key", "value")


@dataclass(frozen=True)
class GPT(Network):
    """A transformer that gives the scores of the next character at every position; norms come first [1]_, [2]_.

    The learned vectors of a character and its position begin the stream. Each block adds two parts to it: attention to
    block_1_value by block_1_query and block_1_key, then block_1_output; and block_1_up, of four times the width, GELU,
    then block_1_down. Each of these six products is a `bnn.layers.BitLinear` in three layers: an RMS norm
    (block_1_up_norm), 8-bit activations (block_1_up_activation) and the kernel (block_1_up). A norm and a real kernel
    (scores) give the scores of the next character.

    Kernels have 3 levels, by `absmean` [3]_, or 2, by `centered_sign` [2]_. In a continuous network, neither kernels
    nor activations are quantized. Other quantizers are refused: their kernels do not keep the scale.

    Raises:
        ConfigError: a value is out of range, or (in `check`) the context is not the length of the sequences.

    References:
        .. [1] Radford et al., "Language Models are Unsupervised Multitask Learners", 2019 (GPT-2).
        .. [2] Wang et al., "BitNet: Scaling 1-bit Transformers for Large Language Models", 2023, arXiv:2310.11453.
        .. [3] Ma et al., "The Era of 1-bit LLMs: All Large Language Models are in 1.58 Bits", 2024, arXiv:2402.17764.
    """

    name = "gpt"
    sizes = "blocks, width"
    takes_tokens = True
    usual_data = "tiny-shakespeare"
    not_a_chain = "its blocks add real values"

    blocks: int = setting(4, "blocks of attention and a feed-forward part")
    heads: int = setting(4, "heads of the attention; they divide the width")
    width: int = setting(128, "values of each position")
    context: int = setting(64, "characters that the network sees at once")

    def __post_init__(self):
        super().__post_init__()
        expect(0 < self.blocks <= MAX_LAYERS, "blocks", f"1 to {MAX_LAYERS}", self.blocks)
        for name in ("width", "context"):
            expect(0 < getattr(self, name) <= MAX_SIZE, name, f"1 to {MAX_SIZE}", getattr(self, name))
        divides = self.heads > 0 and self.width % self.heads == 0
        expect(divides, "heads", f"a number that divides the width, {self.width}", self.heads)

    def graph(self, x, blocks):
        """See `Network.graph`."""
        x = blocks.embedding(x, self.width, "embedding")
        for number in range(1, self.blocks + 1):
            name = f"block_{number}"
            given = [blocks.bit_linear(x, self.width, f"{name}_{part}") for part in PARTS]
            y = blocks.attention(*given, self.heads, name)
            x = blocks.add(x, blocks.bit_linear(y, self.width, f"{name}_output"), f"{name}_attention")
            y = blocks.gelu(blocks.bit_linear(x, 4 * self.width, f"{name}_up"), name)
            x = blocks.add(x, blocks.bit_linear(y, self.width, f"{name}_down"), name)
        return blocks.scores_of_steps(x, "scores")

    def check(self, inputs):
        """See `Network.check`."""
        steps = inputs.input_shape[0]
        expect(self.context == steps, "context", f"{steps}, the length of the sequences", self.context)
        super().check(inputs)

    def check_quantization(self, quantization):
        """See `Network.check_quantization`."""
        of, name = quantization, f"in the network {self.name}"
        usual = {"threshold": 0.0, "kernel_quantizer": None, "activation_quantizer": None}
        if not of.continuous:
            known = f"{one_of(ESTIMATORS.values())} {name}, whose kernels keep their scale"
            expect(of.estimator in ESTIMATORS.values(), "estimator", known, of.estimator)
            usual |= {"first_layer": "real", "last_layer": "real"}
        for key, value in usual.items():
            expect(getattr(of, key) == value, key, f"{value} {name}", getattr(of, key))
        expect(not isinstance(of.clip, str), "clip", f"a number {name}", of.clip)

    def weights(self, inputs):
        """See `Network.weights`."""
        return self.width * (12 * self.blocks * self.width + inputs.classes)

    @classmethod
    def implied(cls, settings, given):
        """See `Network.implied`: the length of the sequences is the context; the number of levels and the estimator."""
        found = {"classes": settings.get("classes", CHARACTERS)}
        shape = given.get("input_shape")
        if isinstance(shape, tuple) and len(shape) == 1:
            found["context"] = shape[0]
        elif len(settings.get("input_shape", (0,))) == 1:
            found["input_shape"] = (settings.get("context", cls.context),)
        if not settings.get("continuous"):
            levels = {name: levels for levels, name in ESTIMATORS.items()}.get(settings.get("estimator"), 3)
            levels = settings.get("levels", levels)
            found |= {"levels": levels, "first_layer": "real", "last_layer": "real"}
            found |= {"estimator": ESTIMATORS[levels]} if levels in ESTIMATORS else {}
        return {name: value for name, value in found.items() if name not in given}

    @property
    def label(self):
        """The sizes: gpt4x128, with heads and context where they are not the usual ones: gpt4x128-heads2-context32."""
        usual = {name: getattr(type(self), name) for name in ("heads", "context")}
        others = [f"-{name}{getattr(self, name)}" for name in usual if getattr(self, name) != usual[name]]
        return f"{self.name}{self.blocks}x{self.width}{''.join(others)}"
