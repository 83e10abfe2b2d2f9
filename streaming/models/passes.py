"""One pass of a model over jobs, and what its failure means for each of them.

Knows the model and the jobs of one batch; not who chose them, nor any thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streaming.errors import ModelError, Overloaded, WavestitchError
from streaming.events import Job, LogitRows, Logits, Pass, Samples
from streaming.models.model import Model, Step
from streaming.models.states import States

__all__ = ["Failed", "forward", "run_pass", "step"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """A job that has no logits, and never will have.

    Attributes:
        error: `ModelError` where the model failed; `Overloaded` where the job was
            not run: a full pass that could not be in time, no room for a state, or
            an engine that stops.
    """

    job: Job
    error: WavestitchError


def run_pass(
    model: Model, jobs: Sequence[Job], states: States
) -> list[Logits | Failed]:
    """Run jobs of one kind as one batch; one answer for each, in their order.

    Windows of a stateful model are steps, everything else goes through `forward`.
    When a batch fails each of its jobs is run alone, so that only those are failed
    that fail by themselves. Nothing is raised.

    Args:
        model: what to run.
        jobs: windows, or full passes.
        states: of the model's utterances; these windows have begun.
    """
    if model.stateful and all(job.kind is Pass.STITCHED for job in jobs):
        return _run_steps(model, jobs, states)
    return _run_windows(model, jobs)


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
    rows = _as_many(given, len(asked))
    result = [next(rows) if len(samples) else _none(model) for samples in batch]
    for samples, logits in zip(batch, result, strict=True):
        _check(model, samples, logits)
    return result


def step(model: Model, batch: Sequence[Step]) -> list[LogitRows]:
    """Take steps, and check what comes of them, as `forward` does."""
    rows = list(_as_many(model.step(batch), len(batch)))
    for each, logits in zip(batch, rows, strict=True):
        _check(model, each.samples, logits)
    return rows


def _run_windows(model: Model, jobs: Sequence[Job]) -> list[Logits | Failed]:
    try:
        rows = forward(model, [job.window.samples for job in jobs])
    except BaseException as error:  # MemoryError and SystemExit are one job's as well
        if len(jobs) > 1:
            return [answer for job in jobs for answer in _run_windows(model, [job])]
        return [_failed(job, error) for job in jobs]
    return [Logits(job, each) for job, each in zip(jobs, rows, strict=True)]


def _run_steps(
    model: Model, jobs: Sequence[Job], states: States
) -> list[Logits | Failed]:
    answers: dict[Job, Logits | Failed] = {}
    steps: dict[Job, Step] = {}
    for job in jobs:
        window = job.window
        if not len(window.samples):
            answers[job] = Logits(job, _none(model))
            continue
        try:
            steps[job] = Step(states.of(model, job), window.samples, window.hop)
        except BaseException as error:
            answers[job] = _failed(job, error)
    answers |= _step(model, steps)
    return [answers[job] for job in jobs]


def _step(model: Model, steps: Mapping[Job, Step]) -> dict[Job, Logits | Failed]:
    """Take a step of each; where it failed no state has moved on: one by one then."""
    if not steps:
        return {}
    try:
        given = model.step(list(steps.values()))
    except BaseException as error:
        if len(steps) > 1:
            alone = (_step(model, {job: steps[job]}) for job in steps)
            return {job: answer for each in alone for job, answer in each.items()}
        return {job: _failed(job, error) for job in steps}
    # From here on the states have moved on: nothing can be run again.
    answers: dict[Job, Logits | Failed] = {}
    try:
        rows = _as_many(given, len(steps))
    except ModelError as error:
        return {job: _failed(job, error) for job in steps}
    for job, logits in zip(steps, rows, strict=True):
        try:
            _check(model, job.window.samples, logits)
        except ModelError as error:
            answers[job] = _failed(job, error)
        else:
            answers[job] = Logits(job, logits)
    return answers


def _failed(job: Job, error: BaseException) -> Failed:
    if isinstance(error, Overloaded):
        return Failed(job, error)
    said = f"{type(error).__name__}: {error}"
    failure = ModelError(
        f"a pass over {len(job.window.samples)} samples of stream {job.stream}, "
        f"utterance {job.utterance} failed: {said}"
    )
    failure.__cause__ = error
    _log.error("%s", failure, exc_info=error)
    return Failed(job, failure)


def _as_many(given: Sequence[LogitRows], asked: int) -> Iterator[LogitRows]:
    if len(given) != asked:
        raise ModelError(f"{asked} windows gave logits of {len(given)}")
    return iter(given)


def _none(model: Model) -> LogitRows:
    return np.zeros((0, len(model.vocabulary.labels)), np.float32)


def _check(model: Model, samples: Samples, logits: LogitRows) -> None:
    steps = model.geometry.steps(len(samples))
    if len(logits) != steps:
        raise ModelError(
            f"{len(samples)} samples gave {len(logits)} rows, expected {steps}"
        )
    if not np.isfinite(logits).all():
        raise ModelError(f"{len(samples)} samples gave logits that are not finite")
