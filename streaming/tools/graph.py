"""A wav2vec 2.0 CTC model written out as an ONNX graph, node by node.

The same logits as transformers' `Wav2Vec2ForCTC`, laid out so that ONNX Runtime
runs it fast on a CPU: channels last throughout, strided convolutions as reshapes
and matrix products, queries, keys and values in one product. An exporter that
traces gives none of this. Knows onnx and the names of the modules; knows neither
files nor precisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from streaming.errors import ModelError

__all__ = ["FIRST_PRODUCT", "HEAD_PRODUCT", "build_graph"]

FIRST_PRODUCT = "front.0.product"
HEAD_PRODUCT = "head.product"

_OPSET = 20  # the first with Gelu; ONNX Runtime 1.17 and later
_IR = 9
# What is written here; a checkpoint with anything else is refused.
_WRITTEN = {
    "model_type": "wav2vec2",
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "add_adapter": False,
}


def build_graph(module: Any) -> onnx.ModelProto:
    """Write the fp32 graph.

    Input `samples (batch, n)`, output `logits (batch, steps, labels)`; batch and n
    are free, the labels are a static axis.

    Args:
        module: a `Wav2Vec2ForCTC`, fp32, on the CPU, its weight norms folded.

    Raises:
        ModelError: the module has a part that is not written here.
    """
    for name, written in _WRITTEN.items():
        found = getattr(module.config, name)
        if found != written:
            raise ModelError(
                f"cannot export {name}={found!r}, only {written!r}; "
                "serve this checkpoint through torch"
            )
    nodes = _Nodes()
    body = module.wav2vec2
    stable = module.config.do_stable_layer_norm

    x = nodes.add("Unsqueeze", "samples", nodes.integers(2))
    for i, layer in enumerate(body.feature_extractor.conv_layers):
        x = _convolution(nodes, f"front.{i}", layer, x)
    x = nodes.norm(body.feature_projection.layer_norm, x)
    x = nodes.linear("projection", body.feature_projection.projection, x)
    x = _positions(nodes, body.encoder.pos_conv_embed, x)
    if not stable:
        x = nodes.norm(body.encoder.layer_norm, x)
    for i, layer in enumerate(body.encoder.layers):
        write = _stable_layer if stable else _layer
        x = write(nodes, f"layer.{i}", layer, x)
    if stable:
        x = nodes.norm(body.encoder.layer_norm, x)
    nodes.linear("head", module.lm_head, x, output="logits")
    return nodes.model(labels=module.lm_head.out_features)


class _Nodes:
    """The graph so far. Values are named by their node."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(
        self, op: str, *inputs: str, output: str | None = None, **attributes: Any
    ) -> str:
        """A node of one output, which is returned."""
        return self.split(op, *inputs, outputs=[output], **attributes)[0]

    def split(
        self,
        op: str,
        *inputs: str,
        outputs: Sequence[str | None] = (),
        name: str | None = None,
        **attributes: Any,
    ) -> list[str]:
        """A node of several outputs."""
        name = name or f"{op}.{len(self._nodes)}"
        named = [out or f"{name}:{i}" for i, out in enumerate(outputs)]
        self._nodes.append(helper.make_node(op, inputs, named, name, **attributes))
        return named

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        value = np.ascontiguousarray(value)
        self._constants[name] = numpy_helper.from_array(value, name)
        return name

    def integers(self, *values: int) -> str:
        return self.constant(
            "i" + "_".join(map(str, values)), np.array(values, np.int64)
        )

    def weights(self, values: Any) -> str:
        return self.constant(f"w{len(self._constants)}", np.asarray(values, np.float32))

    def product(
        self,
        name: str,
        x: str,
        weight: Any,
        bias: Any = None,
        output: str | None = None,
    ) -> str:
        """`x @ weight + bias`; weight is `(in, out)`."""
        last = output if bias is None else None
        [y] = self.split(
            "MatMul", x, self.weights(weight), outputs=[last], name=f"{name}.product"
        )
        if bias is None:
            return y
        return self.add("Add", y, self.weights(bias), output=output)

    def linear(self, name: str, layer: Any, x: str, output: str | None = None) -> str:
        return self.product(name, x, layer.weight.T, layer.bias, output)

    def norm(self, layer: Any, x: str) -> str:
        return self.add(
            "LayerNormalization",
            x,
            self.weights(layer.weight),
            self.weights(layer.bias),
            axis=-1,
            epsilon=layer.eps,
        )

    def model(self, *, labels: int) -> onnx.ModelProto:
        """The graph, checked."""
        shapes = {"samples": ("batch", "n"), "logits": ("batch", "steps", labels)}
        samples, logits = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
        )
        graph = helper.make_graph(
            self._nodes, "wav2vec2", [samples], [logits], list(self._constants.values())
        )
        model = helper.make_model(
            graph,
            producer_name="wavestitch",
            ir_version=_IR,
            opset_imports=[helper.make_opsetid("", _OPSET)],
        )
        onnx.checker.check_model(model)
        return model


def _convolution(nodes: _Nodes, name: str, layer: Any, x: str) -> str:
    """A strided convolution over `(batch, time, in)`, its norm and its GELU.

    `kernel // stride` whole strides of input are one row of a product, each tap
    that is left is a product of its own. MatMul-only int8 then covers it (ONNX
    Runtime's ConvInteger is slower than its Conv in fp32), and no transpose
    surrounds the layer norm.
    """
    convolution = layer.conv
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    channels = convolution.in_channels
    whole = kernel // stride
    taps = convolution.weight.permute(2, 1, 0)  # (kernel, in, out)

    # The rows that come out, whatever the length.
    time = nodes.add("Shape", x, start=1, end=2)
    spare = nodes.add("Sub", time, nodes.integers(kernel))
    last = nodes.add("Div", spare, nodes.integers(stride))
    steps = nodes.add("Add", last, nodes.integers(1))

    zero, axis = nodes.integers(0), nodes.integers(1)
    count = nodes.add("Add", last, nodes.integers(whole))
    end = nodes.add("Mul", count, nodes.integers(stride))
    rows = nodes.add("Slice", x, zero, end, axis)
    rows = nodes.add("Reshape", rows, nodes.integers(0, -1, stride * channels))
    if whole > 1:
        shifted = [
            nodes.add(
                "Slice",
                rows,
                nodes.integers(i),
                nodes.add("Add", steps, nodes.integers(i)),
                axis,
            )
            for i in range(whole)
        ]
        rows = nodes.add("Concat", *shifted, axis=2)
    rest = range(whole * stride, kernel)
    weight = taps[: whole * stride].flatten(0, 1)
    y = nodes.product(name, rows, weight, None if rest else convolution.bias)
    for tap in rest:
        reach = nodes.add("Mul", last, nodes.integers(stride))
        end = nodes.add("Add", reach, nodes.integers(tap + 1))
        taken = nodes.add(
            "Slice", x, nodes.integers(tap), end, axis, nodes.integers(stride)
        )
        bias = convolution.bias if tap == kernel - 1 else None
        y = nodes.add("Add", y, nodes.product(f"{name}.{tap}", taken, taps[tap], bias))
    norm = getattr(layer, "layer_norm", None)
    if norm is not None:
        over_time = hasattr(norm, "num_groups")
        y = _time_norm(nodes, norm, y) if over_time else nodes.norm(norm, y)
    return nodes.add("Gelu", y)


def _time_norm(nodes: _Nodes, norm: Any, x: str) -> str:
    """Group norm with a group for each channel: statistics over the time."""
    if norm.num_groups != norm.num_channels:
        raise ModelError(
            f"cannot export {norm.num_groups} groups of {norm.num_channels} channels"
        )
    axis = nodes.integers(1)
    centred = nodes.add("Sub", x, nodes.add("ReduceMean", x, axis))
    square = nodes.add("Mul", centred, centred)
    variance = nodes.add("ReduceMean", square, axis)
    epsilon = nodes.constant("epsilon", np.array([norm.eps], np.float32))
    deviation = nodes.add("Sqrt", nodes.add("Add", variance, epsilon))
    y = nodes.add("Div", centred, deviation)
    y = nodes.add("Mul", y, nodes.weights(norm.weight))
    return nodes.add("Add", y, nodes.weights(norm.bias))


def _positions(nodes: _Nodes, source: Any, x: str) -> str:
    """The convolutional positions, added: grouped, so it stays a convolution."""
    convolution = source.conv
    padding = convolution.padding[0]
    y = nodes.add(
        "Conv",
        nodes.add("Transpose", x, perm=[0, 2, 1]),
        nodes.weights(convolution.weight),
        nodes.weights(convolution.bias),
        group=convolution.groups,
        # Of an even kernel the last row is one too many.
        pads=[padding, padding - source.padding.num_pad_remove],
    )
    y = nodes.add("Transpose", nodes.add("Gelu", y), perm=[0, 2, 1])
    return nodes.add("Add", x, y)


def _layer(nodes: _Nodes, name: str, layer: Any, x: str) -> str:
    """Norms after each part (wav2vec2-base)."""
    x = nodes.add("Add", x, _attention(nodes, name, layer.attention, x))
    x = nodes.norm(layer.layer_norm, x)
    x = nodes.add("Add", x, _feed(nodes, name, layer.feed_forward, x))
    return nodes.norm(layer.final_layer_norm, x)


def _stable_layer(nodes: _Nodes, name: str, layer: Any, x: str) -> str:
    """Norms before each part (XLSR and later), and the language adapter of MMS."""
    y = _attention(nodes, name, layer.attention, nodes.norm(layer.layer_norm, x))
    x = nodes.add("Add", x, y)
    y = _feed(nodes, name, layer.feed_forward, nodes.norm(layer.final_layer_norm, x))
    x = nodes.add("Add", x, y)
    adapter = layer.adapter_layer
    if adapter is None:
        return x
    y = nodes.linear(f"{name}.adapter.0", adapter.linear_1, nodes.norm(adapter.norm, x))
    y = nodes.linear(f"{name}.adapter.1", adapter.linear_2, nodes.add("Relu", y))
    return nodes.add("Add", x, y)


def _feed(nodes: _Nodes, name: str, source: Any, x: str) -> str:
    x = nodes.linear(f"{name}.widen", source.intermediate_dense, x)
    return nodes.linear(f"{name}.narrow", source.output_dense, nodes.add("Gelu", x))


def _attention(nodes: _Nodes, name: str, source: Any, x: str) -> str:
    """Self-attention over all steps; the scale is folded into the queries."""
    heads, width = source.num_heads, source.head_dim
    query, key, value = source.q_proj, source.k_proj, source.v_proj
    weight = np.concatenate(
        [
            query.weight.numpy() * source.scaling,
            key.weight.numpy(),
            value.weight.numpy(),
        ]
    )
    bias = np.concatenate(
        [query.bias.numpy() * source.scaling, key.bias.numpy(), value.bias.numpy()]
    )
    inward = nodes.product(f"{name}.inward", x, weight.T, bias)
    inward = nodes.add("Reshape", inward, nodes.integers(0, 0, 3 * heads, width))
    inward = nodes.add("Transpose", inward, perm=[0, 2, 1, 3])
    q, k, v = nodes.split(
        "Split", inward, outputs=[None] * 3, axis=1, num_outputs=3
    )  # each (batch, heads, steps, width)
    scores = nodes.add("MatMul", q, nodes.add("Transpose", k, perm=[0, 1, 3, 2]))
    y = nodes.add("MatMul", nodes.add("Softmax", scores, axis=-1), v)
    y = nodes.add("Transpose", y, perm=[0, 2, 1, 3])
    y = nodes.add("Reshape", y, nodes.integers(0, 0, heads * width))
    return nodes.linear(f"{name}.outward", source.out_proj, y)
