"""The graph that moves a left context on a device: `models/keep.onnx`.

ONNX Runtime has no other way to copy rows between tensors on a GPU. Written once by
`python -m streaming.tools.keeping`, so that those who serve need no onnx. Knows onnx;
not what the rows are.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from streaming.models import bound_onnx

__all__ = ["keeping"]


def keeping() -> onnx.ModelProto:
    """`kept = concat(past, rows)[pick]`, along the time, which comes first."""
    floats = {"past": ("past", "batch", "hidden"), "rows": ("rows", "batch", "hidden")}
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in floats.items()
    ]
    inputs.append(helper.make_tensor_value_info("pick", TensorProto.INT64, ("kept",)))
    kept = ("kept", "batch", "hidden")
    graph = helper.make_graph(
        [
            helper.make_node("Concat", ["past", "rows"], ["both"], axis=0),
            helper.make_node("Gather", ["both", "pick"], ["kept"], axis=0),
        ],
        "keep",
        inputs,
        [helper.make_tensor_value_info("kept", TensorProto.FLOAT, kept)],
    )
    model = helper.make_model(
        graph,
        producer_name="wavestitch",
        ir_version=9,
        opset_imports=[helper.make_opsetid("", 20)],
    )
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    Path(bound_onnx.KEEP).write_bytes(keeping().SerializeToString())
