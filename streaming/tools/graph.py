"""A wav2vec 2.0 CTC model written out as an ONNX graph, node by node.

The same logits as transformers' `Wav2Vec2ForCTC`, laid out so that ONNX Runtime
runs it fast on a CPU: channels last throughout, strided convolutions as reshapes
and matrix products, queries, keys and values in one product. An exporter that
traces gives none of this. One graph serves whole windows and, where the front end
allows it, steps behind a left context. Knows the names of the modules; knows
neither files nor precisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from streaming.errors import ModelError
from streaming.tools.graph_front import convolution
from streaming.tools.nodes import Axes, Nodes

__all__ = ["FIRST_PRODUCT", "HEAD_PRODUCT", "build_graph", "can_step"]

FIRST_PRODUCT = "front.0.product"
HEAD_PRODUCT = "head.product"

# What is written here; a checkpoint with anything else is refused.
_WRITTEN = {
    "model_type": "wav2vec2",
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "add_adapter": False,
}


def can_step(module: Any) -> bool:
    """Whether rows of the front end depend on their own samples alone.

    A group norm takes its statistics over the whole window.
    """
    return bool(module.config.feat_extract_norm == "layer")


def build_graph(module: Any, *, plain: bool = False) -> onnx.ModelProto:
    """Write the fp32 graph.

    Input `samples (batch, n)`, output `logits (batch, rows, labels)`; batch and n
    are free, the labels are a static axis. Where it can take steps the left context
    is an input, and what the next step needs of this one an output, time first:

    - `past.frames (padding + known, batch, hidden)`: projected frames. The first
      `padding` are left of the first row, zeros at an utterance's start; rows that
      are already known follow, and the samples begin after theirs.
    - `past.keys.I`, `past.values.I (past, batch, hidden)` of layer I, in any order:
      wav2vec 2.0 takes its positions from the convolution, not in attention.
    - `frames (rows, batch, hidden)`, `keys.I`, `values.I`: of every row.

    With `padding` zeros and nothing else past it is the plain graph.

    Args:
        module: a `Wav2Vec2ForCTC`, fp32, on the CPU, its weight norms folded.
        plain: write no left context even where `can_step`.

    Raises:
        ModelError: the module has a part that is not written here.
    """
    config = module.config
    for name, written in _WRITTEN.items():
        found = getattr(config, name)
        if found != written:
            raise ModelError(
                f"cannot export {name}={found!r}, only {written!r}; "
                "serve this checkpoint through torch"
            )
    steps = not plain and can_step(module)
    nodes = Nodes()
    body = module.wav2vec2
    stable = config.do_stable_layer_norm

    x = nodes.add("Unsqueeze", "samples", nodes.integers(2))
    for i, layer in enumerate(body.feature_extractor.conv_layers):
        x = convolution(nodes, f"front.{i}", layer, x)
    x = nodes.norm(body.feature_projection.layer_norm, x)
    x = nodes.linear("projection", body.feature_projection.projection, x)
    x = nodes.add("Transpose", x, perm=[1, 0, 2])  # (rows, batch, hidden) from here
    x = _positions(nodes, body.encoder.pos_conv_embed, x, steps=steps)
    if not stable:
        x = nodes.norm(body.encoder.layer_norm, x)
    past = _Past.write(nodes) if steps else None
    for i, layer in enumerate(body.encoder.layers):
        write = _stable_layer if stable else _layer
        x = write(nodes, i, layer, x, past)
    if stable:
        x = nodes.norm(body.encoder.layer_norm, x)
    x = nodes.add("Transpose", x, perm=[1, 0, 2])
    nodes.linear("head", module.lm_head, x, output="logits")

    inputs: dict[str, Axes] = {"samples": ("batch", "n")}
    outputs: dict[str, Axes] = {
        "logits": ("batch", "rows", module.lm_head.out_features)
    }
    if steps:
        hidden, layers = config.hidden_size, range(config.num_hidden_layers)
        cached = [f"{kind}.{i}" for i in layers for kind in ("keys", "values")]
        past_shape, shape = ("past", "batch", hidden), ("rows", "batch", hidden)
        inputs |= {"past.frames": ("padding", "batch", hidden)}
        inputs |= {f"past.{name}": past_shape for name in cached}
        outputs |= dict.fromkeys(["frames", *cached], shape)
    return nodes.model(inputs, outputs)


@dataclass(frozen=True, slots=True)
class _Past:
    """The keys and values of the left context, the same number in every layer.

    Attributes:
        exists: whether there are any.
        length: how many, `(1,)`.
    """

    exists: str
    length: str

    @classmethod
    def write(cls, nodes: Nodes) -> _Past:
        length = nodes.add("Shape", "past.keys.0", start=0, end=1)
        some = nodes.add("Greater", length, nodes.integers(0))
        return cls(nodes.add("Squeeze", some), length)


def _positions(nodes: Nodes, source: Any, x: str, *, steps: bool) -> str:
    """The convolutional positions, added: grouped, so it stays a convolution."""
    convolution = source.conv
    padding = convolution.padding[0]
    around = x
    if steps:
        around = nodes.add("Concat", "past.frames", x, axis=0)
        end = nodes.constant("end", np.array([np.iinfo(np.int64).max]))
        x = nodes.add(
            "Slice",
            around,
            nodes.integers(padding),
            end,
            nodes.integers(0),
            output="frames",
        )
    y = nodes.add(
        "Conv",
        nodes.add("Transpose", around, perm=[1, 2, 0]),
        nodes.weights(convolution.weight),
        nodes.weights(convolution.bias),
        group=convolution.groups,
        # Of an even kernel the last row is one too many.
        pads=[0 if steps else padding, padding - source.padding.num_pad_remove],
    )
    y = nodes.add("Transpose", nodes.add("Gelu", y), perm=[2, 0, 1])
    return nodes.add("Add", x, y)


def _layer(nodes: Nodes, i: int, layer: Any, x: str, past: _Past | None) -> str:
    """Norms after each part (wav2vec2-base)."""
    x = nodes.add("Add", x, _attention(nodes, i, layer.attention, x, past))
    x = nodes.norm(layer.layer_norm, x)
    x = nodes.add("Add", x, _feed(nodes, i, layer.feed_forward, x))
    return nodes.norm(layer.final_layer_norm, x)


def _stable_layer(nodes: Nodes, i: int, layer: Any, x: str, past: _Past | None) -> str:
    """Norms before each part (XLSR and later), and the language adapter of MMS."""
    normed = nodes.norm(layer.layer_norm, x)
    x = nodes.add("Add", x, _attention(nodes, i, layer.attention, normed, past))
    y = _feed(nodes, i, layer.feed_forward, nodes.norm(layer.final_layer_norm, x))
    x = nodes.add("Add", x, y)
    adapter = layer.adapter_layer
    if adapter is None:
        return x
    y = nodes.norm(adapter.norm, x)
    y = nodes.linear(f"layer.{i}.adapter.0", adapter.linear_1, y)
    y = nodes.linear(f"layer.{i}.adapter.1", adapter.linear_2, nodes.add("Relu", y))
    return nodes.add("Add", x, y)


def _feed(nodes: Nodes, i: int, source: Any, x: str) -> str:
    x = nodes.linear(f"layer.{i}.widen", source.intermediate_dense, x)
    return nodes.linear(f"layer.{i}.narrow", source.output_dense, nodes.add("Gelu", x))


def _attention(nodes: Nodes, i: int, source: Any, x: str, past: _Past | None) -> str:
    """Self-attention over the past and all rows; the queries hold the scale."""
    projections = (source.q_proj, source.k_proj, source.v_proj)
    scales = (source.scaling, 1, 1)
    parts = list(zip(projections, scales, strict=True))
    weight = np.concatenate([p.weight.numpy() * scale for p, scale in parts])
    bias = np.concatenate([p.bias.numpy() * scale for p, scale in parts])
    inward = nodes.product(f"layer.{i}.inward", x, weight.T, bias)
    outputs = [None, f"keys.{i}", f"values.{i}"] if past else [None] * 3
    q, k, v = nodes.split("Split", inward, outputs=outputs, axis=2, num_outputs=3)

    apart = nodes.integers(0, 0, source.num_heads, source.head_dim)

    # ONNX Runtime fuses both transposes with the product that takes them, so that
    # neither the rows nor the past are copied.
    def heads(rows: str, *perm: int) -> str:
        return nodes.add(
            "Transpose", nodes.add("Reshape", rows, apart), perm=list(perm)
        )

    def scores(keys: str) -> str:  # (batch, heads, rows, keys)
        return nodes.add("MatMul", heads(q, 1, 2, 0, 3), heads(keys, 1, 2, 3, 0))

    def weighed(probabilities: str, values: str) -> str:
        return nodes.add("MatMul", probabilities, heads(values, 1, 2, 0, 3))

    def alone() -> str:
        return weighed(nodes.add("Softmax", scores(k), axis=-1), v)

    def behind() -> str:
        assert past is not None
        keys, values = f"past.keys.{i}", f"past.values.{i}"
        both = nodes.add("Concat", scores(keys), scores(k), axis=3)
        both = nodes.add("Softmax", both, axis=-1)
        rows = nodes.add("Shape", k, start=0, end=1)
        lengths = nodes.add("Concat", past.length, rows, axis=0)
        left, own = nodes.split("Split", both, lengths, outputs=[None] * 2, axis=3)
        return nodes.add("Add", weighed(left, values), weighed(own, v))

    # Without a past its products would have no columns: ONNX Runtime divides by them.
    y = nodes.either(past.exists, behind, alone) if past else alone()
    y = nodes.add("Transpose", y, perm=[2, 0, 1, 3])
    y = nodes.add(
        "Reshape", y, nodes.integers(0, 0, source.num_heads * source.head_dim)
    )
    return nodes.linear(f"layer.{i}.outward", source.out_proj, y)
