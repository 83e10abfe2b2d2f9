"""The ways of running a model whose capacity is measured, as data."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.shapes import shape_of
from streaming.config import (
    Config,
    DecoderConfig,
    Finals,
    ModelConfig,
    StreamConfig,
    WindowConfig,
)

__all__ = ["QUICK", "WAYS", "Way"]


@dataclass(frozen=True, slots=True)
class Way:
    """One way of running a model.

    Attributes:
        name: in tables, and of `--ways`.
        shape: of `benchmarks/shapes.py`; None for the bundled model as it ships.
        inference: `windowed` or `stateful`.
        backend: `onnx` or `torch`.
        precision: of the weights.
        window: left context, hop and right context.
        budget_ms: of a partial.
    """

    name: str
    shape: str | None
    inference: str
    backend: str
    precision: str
    window: WindowConfig
    budget_ms: int

    def config(self, finals: Finals) -> Config:
        """What a server would run with."""
        return Config(
            model=ModelConfig(
                str(shape_of(self.shape)) if self.shape else None,
                backend=self.backend,
                device="cpu",
                precision=self.precision,
                inference=self.inference,
            ),
            stream=StreamConfig(
                window=self.window,
                decoder=DecoderConfig(finals=finals),
                budget_ms=self.budget_ms,
            ),
        )


# The hops that a budget allows (README.md). Where the past is kept, its left context
# is 10 s; where it is computed anew, the usual 1.28 s.
_HALF = (WindowConfig(1_280, 480, 240), WindowConfig(10_240, 480, 240))
_WHOLE = (WindowConfig(1_280, 960, 320), WindowConfig(10_240, 960, 320))

WAYS = (
    Way("xlsr stateful", "xlsr", "stateful", "onnx", "int8", _WHOLE[1], 1_000),
    Way("xlsr windowed", "xlsr", "windowed", "onnx", "int8", _WHOLE[0], 1_000),
    Way("base windowed", "base", "windowed", "onnx", "int8", _WHOLE[0], 1_000),
    Way("base stateful", "base", "stateful", "torch", "bf16", _WHOLE[1], 1_000),
    Way("bundled stateful", None, "stateful", "onnx", "int8", _HALF[1], 500),
    Way("bundled windowed", None, "windowed", "onnx", "int8", _HALF[0], 500),
    Way("bundled shape", "bundled", "stateful", "onnx", "int8", _HALF[1], 500),
    Way("bundled torch", None, "stateful", "torch", "fp32", _HALF[1], 500),
)
QUICK = ("xlsr stateful",)
