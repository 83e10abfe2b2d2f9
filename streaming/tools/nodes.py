"""The nodes of an ONNX graph that is being written.

Values are named by their node; constants are shared. Knows onnx; not what is
written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Axes", "Nodes"]

_OPSET = 20  # the first with Gelu; ONNX Runtime 1.17 and later
_IR = 9

Axes: TypeAlias = Sequence[int | str]  # a string names a free one


class Nodes:
    """The graph so far. Values are named by their node."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._count = 0  # of the branches' nodes as well: names are the graph's

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
        self._count += 1
        name = name or f"{op}.{self._count}"
        named = [out or f"{name}:{i}" for i, out in enumerate(outputs)]
        self._nodes.append(helper.make_node(op, inputs, named, name, **attributes))
        return named

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """A value that the file holds; the same name is the same value."""
        value = np.ascontiguousarray(value)
        self._constants[name] = numpy_helper.from_array(value, name)
        return name

    def integers(self, *values: int) -> str:
        """A constant of whole numbers."""
        return self.constant(
            "i" + "_".join(map(str, values)), np.array(values, np.int64)
        )

    def weights(self, values: Any) -> str:
        """A constant of its own."""
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
        """`torch.nn.Linear`."""
        return self.product(name, x, layer.weight.T, layer.bias, output)

    def norm(self, layer: Any, x: str) -> str:
        """`torch.nn.LayerNorm` over the last axis."""
        return self.add(
            "LayerNormalization",
            x,
            self.weights(layer.weight),
            self.weights(layer.bias),
            axis=-1,
            epsilon=layer.eps,
        )

    def either(
        self, condition: str, then: Callable[[], str], otherwise: Callable[[], str]
    ) -> str:
        """What `then` writes where the condition holds, else what `otherwise` does."""
        branches = {
            f"{which}_branch": self._branch(write)
            for which, write in (("then", then), ("else", otherwise))
        }
        return self.add("If", condition, **branches)

    def _branch(self, write: Callable[[], str]) -> onnx.GraphProto:
        outside, self._nodes = self._nodes, []
        result = helper.make_tensor_value_info(write(), TensorProto.FLOAT, None)
        inside, self._nodes = self._nodes, outside
        return helper.make_graph(inside, f"branch of {result.name}", [], [result])

    def model(
        self, inputs: Mapping[str, Axes], outputs: Mapping[str, Axes]
    ) -> onnx.ModelProto:
        """The graph, checked."""
        graph = helper.make_graph(
            self._nodes,
            "wav2vec2",
            _described(inputs),
            _described(outputs),
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            producer_name="wavestitch",
            ir_version=_IR,
            opset_imports=[helper.make_opsetid("", _OPSET)],
        )
        onnx.checker.check_model(model)
        return model


def _described(shapes: Mapping[str, Axes]) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
