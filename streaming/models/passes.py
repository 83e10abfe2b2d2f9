"""One pass of a model over jobs, and what its failure means for each of them.

Knows the model and the jobs of one batch; not who chose them, nor any thread.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streaming.errors import ModelError, WavestitchError
from streaming.events import Job, LogitRows, Logits, Samples
from streaming.models.model import Model

__all__ = ["Failed", "forward", "run_pass"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """A job that has no logits, and never will have.

    Attributes:
        error: `ModelError` where the model failed; `Overloaded` where the job was
            not run: a full pass that could not be in time, or an engine that stops.
    """

    job: Job
    error: WavestitchError


def run_pass(model: Model, jobs: Sequence[Job]) -> list[Logits | Failed]:
    """Run jobs as one batch; one answer for each, in their order.

    When a batch fails each of its jobs is run alone, so that only those are failed
    that fail by themselves. Nothing is raised.
    """
    try:
        rows = forward(model, [job.window.samples for job in jobs])
    except BaseException as error:  # MemoryError and SystemExit are one job's as well
        if len(jobs) > 1:
            return [answer for job in jobs for answer in run_pass(model, [job])]
        [job] = jobs
        said = f"{type(error).__name__}: {error}"
        failure = ModelError(
            f"a pass over {len(job.window.samples)} samples of stream {job.stream}, "
            f"utterance {job.utterance} failed: {said}"
        )
        failure.__cause__ = error
        _log.error("%s", failure, exc_info=error)
        return [Failed(job, failure)]
    return [Logits(job, each) for job, each in zip(jobs, rows, strict=True)]


def forward(model: Model, batch: Sequence[Samples]) -> list[LogitRows]:
    """Run a model, and check what it says.

    Args:
        model: any model; it is not asked about windows without samples.
        batch: windows, each `(n,)`.

    Returns:
        For each window its `(steps(n), labels)`.

    Raises:
        ModelError: rows are missing, too many, or not finite.
    """
    asked = [samples for samples in batch if len(samples)]
    given = model.forward(asked) if asked else []
    if len(given) != len(asked):
        raise ModelError(f"{len(asked)} windows gave logits of {len(given)}")
    rows = iter(given)
    empty = np.zeros((0, len(model.vocabulary.labels)), np.float32)
    result = [next(rows) if len(samples) else empty for samples in batch]
    for samples, logits in zip(batch, result, strict=True):
        steps = model.geometry.steps(len(samples))
        if len(logits) != steps:
            raise ModelError(
                f"{len(samples)} samples gave {len(logits)} rows, expected {steps}"
            )
        if not np.isfinite(logits).all():
            raise ModelError(f"{len(samples)} samples gave logits that are not finite")
    return result
