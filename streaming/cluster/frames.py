"""What travels between an ingest and an engine process: jobs, logits, and pressure.

    ingest -> engine   Asked, Cancel, Terms
    engine -> ingest   Answered, Refusal, Pulse

A frame is a head (kind, bytes that follow its fields), its fields at fixed places,
and what is as long as it is: samples and rows as little-endian float32. A window of
2 s costs some 40 us from one process to the other.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from streaming.cluster.wire import Bytes, Source
from streaming.core.costs import CostModel
from streaming.core.ladder import Strain
from streaming.errors import ModelError, Overloaded, WavestitchError
from streaming.events import Cancel, Job, LogitRows, Pass, Samples, Window

__all__ = [
    "Answered",
    "Asked",
    "Frame",
    "Pulse",
    "Refusal",
    "Terms",
    "read_frame",
    "write_frame",
]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Run this job; `number` is what its answer will carry."""

    number: int
    job: Job


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for the streams of an ingest.

    Attributes:
        smallest_budget_s: of its open streams; infinite for none.
        full_passes: they may be begun.
    """

    smallest_budget_s: float
    full_passes: bool


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """What the model said of a job, `(steps, labels)`."""

    number: int
    rows: LogitRows


@dataclass(frozen=True, slots=True)
class Refusal:
    """A job has no logits, and why."""

    number: int
    error: WavestitchError


@dataclass(frozen=True, slots=True)
class Pulse:
    """How an engine stands; sent several times a second.

    Attributes:
        strain: how hard it is pressed.
        costs: what passes cost now.
        refusal: why it takes no new stream; None where it does.
        retry_after_s: when it might.
    """

    strain: Strain
    costs: CostModel
    refusal: str | None = None
    retry_after_s: float = 0.0


Frame: TypeAlias = Asked | Cancel | Terms | Answered | Refusal | Pulse

_HEAD = struct.Struct("<BI")
_FIELDS = {
    1: struct.Struct("<QqqB?qqqqdd"),  # Asked
    2: struct.Struct("<qqb"),  # Cancel: -1 is None
    3: struct.Struct("<d?"),  # Terms
    4: struct.Struct("<QII"),  # Answered
    5: struct.Struct("<QBd"),  # Refusal
    6: struct.Struct("<"),  # Pulse
}
_PASSES = tuple(Pass)


def write_frame(frame: Frame) -> tuple[Bytes, ...]:
    """A frame in bytes; arrays are not copied."""
    match frame:
        case Asked(number, job):
            window = job.window
            fields = (
                number,
                job.stream,
                job.utterance,
                _PASSES.index(job.kind),
                window.last,
                window.start,
                window.left,
                window.hop,
                window.right,
                job.deadline,
                job.budget_s,
            )
            return _frame(1, fields, _bytes(window.samples))
        case Cancel(stream, utterance, pass_):
            whose = -1 if utterance is None else utterance
            kind = -1 if pass_ is None else _PASSES.index(pass_)
            return _frame(2, (stream, whose, kind))
        case Terms():
            return _frame(3, (frame.smallest_budget_s, frame.full_passes))
        case Answered(number, rows):
            return _frame(4, (number, *rows.shape), _bytes(rows))
        case Refusal(number, error):
            overloaded = isinstance(error, Overloaded)
            wait_s = error.retry_after_s if isinstance(error, Overloaded) else 0.0
            return _frame(5, (number, overloaded, wait_s), str(error).encode())
        case Pulse():
            return _frame(6, (), pickle.dumps(frame))


def read_frame(source: Source) -> Frame:
    """The next frame.

    Raises:
        EOFError: there is none.
        ValueError: these bytes are no frame.
    """
    kind, size = _HEAD.unpack(source.take(_HEAD.size))
    if kind not in _FIELDS:
        raise ValueError(f"a frame is of kind 1 to {len(_FIELDS)}, got {kind}")
    fields = _FIELDS[kind].unpack(source.take(_FIELDS[kind].size))
    data = source.take(size)
    return _READERS[kind](fields, data)


def _asked(fields: _Fields, data: bytearray) -> Asked:
    number, stream, utterance, kind, last, start, left, hop, right, due, budget = fields
    window = Window(_floats(data), start, left, hop, right, last)
    return Asked(number, Job(stream, utterance, window, _PASSES[kind], due, budget))


def _cancel(fields: _Fields, _: bytearray) -> Cancel:
    stream, whose, kind = fields
    utterance = None if whose < 0 else whose
    return Cancel(stream, utterance, None if kind < 0 else _PASSES[kind])


def _answered(fields: _Fields, data: bytearray) -> Answered:
    number, steps, labels = fields
    return Answered(number, _floats(data).reshape(steps, labels))


def _refusal(fields: _Fields, data: bytearray) -> Refusal:
    number, overloaded, wait_s = fields
    text = data.decode()
    return Refusal(number, Overloaded(text, wait_s) if overloaded else ModelError(text))


def _pulse(_: _Fields, data: bytearray) -> Pulse:
    pulse: Pulse = pickle.loads(data)
    return pulse


_Fields: TypeAlias = tuple[Any, ...]

_READERS: dict[int, Callable[[_Fields, bytearray], Frame]] = {
    1: _asked,
    2: _cancel,
    3: lambda fields, _: Terms(*fields),
    4: _answered,
    5: _refusal,
    6: _pulse,
}


def _frame(
    kind: int, fields: tuple[object, ...], data: Bytes = b""
) -> tuple[Bytes, ...]:
    return _HEAD.pack(kind, len(data)) + _FIELDS[kind].pack(*fields), data


def _bytes(array: Samples) -> memoryview:
    return np.ascontiguousarray(array, "<f4").reshape(-1).view(np.uint8).data


def _floats(data: bytearray) -> Samples:
    return np.frombuffer(data, "<f4") if data else np.empty(0, np.float32)
