"""An fp32 graph to one with int8 matrix products.

Weights are int8 with a scale a column, activations are scaled as they come.
Knows ONNX Runtime's quantizer; does not know what the graph computes.
"""

from __future__ import annotations

import logging
from pathlib import Path

from streaming.errors import ConfigError

__all__ = ["quantize"]


def quantize(source: Path, target: Path, *, keep: tuple[str, ...] = ()) -> None:
    """Write `source` with its constant matrix products in int8.

    Products of two activations (attention) and convolutions stay fp32: ONNX
    Runtime's ConvInteger is slower than its Conv. Weights use 7 bits
    (`reduce_range`): with 8, processors without VNNI saturate their 16-bit sums,
    and the text would depend on the machine. It costs nothing measurable.

    Args:
        source: an fp32 graph.
        target: the file to write.
        keep: names of the products to leave in fp32.

    Raises:
        ConfigError: `onnx` is not installed.
    """
    try:
        from onnxruntime.quantization import (  # noqa: PLC0415
            QuantType,
            quantize_dynamic,
        )
    except ImportError as error:
        raise ConfigError(
            'quantizing needs onnx: pip install "wavestitch[models]"'
        ) from error
    root = logging.getLogger()
    root.addFilter(_no_preprocessing_advice)
    try:
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(keep),
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        root.removeFilter(_no_preprocessing_advice)


def _no_preprocessing_advice(record: logging.LogRecord) -> bool:
    """Our graphs are exported folded and with shapes; the advice is not for them."""
    return "pre-processing before quantization" not in record.getMessage()
