"""The convolutional front end of wav2vec 2.0 as nodes of an ONNX graph.

Strided convolutions as reshapes and matrix products, channels last. Knows the names
of the modules; not what surrounds the front end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streaming.errors import ModelError
from streaming.tools.nodes import Nodes

__all__ = ["convolution"]


def convolution(nodes: Nodes, name: str, layer: Any, x: str) -> str:
    """A strided convolution over `(batch, time, in)`, its norm and its GELU.

    `kernel // stride` whole strides of input are one row of a product, each tap
    that is left is a product of its own. MatMul-only int8 then covers it (ONNX
    Runtime's ConvInteger is slower than its Conv in fp32), and no transpose
    surrounds the layer norm.

    Args:
        nodes: the graph so far.
        name: of its products.
        layer: of the feature extractor: convolution, norm and GELU.
        x: its input.

    Returns:
        Its output, `(batch, rows, out)`.

    Raises:
        ModelError: its norm is not written here.
    """
    source = layer.conv
    kernel, stride = source.kernel_size[0], source.stride[0]
    channels = source.in_channels
    whole = kernel // stride
    taps = source.weight.permute(2, 1, 0)  # (kernel, in, out)

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
    y = nodes.product(name, rows, weight, None if rest else source.bias)
    for tap in rest:
        reach = nodes.add("Mul", last, nodes.integers(stride))
        end = nodes.add("Add", reach, nodes.integers(tap + 1))
        taken = nodes.add(
            "Slice", x, nodes.integers(tap), end, axis, nodes.integers(stride)
        )
        bias = source.bias if tap == kernel - 1 else None
        y = nodes.add("Add", y, nodes.product(f"{name}.{tap}", taken, taps[tap], bias))
    norm = getattr(layer, "layer_norm", None)
    if norm is not None:
        over_time = hasattr(norm, "num_groups")
        y = _time_norm(nodes, norm, y) if over_time else nodes.norm(norm, y)
    return nodes.add("Gelu", y)


def _time_norm(nodes: Nodes, norm: Any, x: str) -> str:
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
