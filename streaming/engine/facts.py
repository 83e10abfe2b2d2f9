"""A loaded model in data: what streams need to know, and how many workers it wants."""

from __future__ import annotations

import os

from streaming.core.facts import ModelFacts
from streaming.models.model import Model

__all__ = ["facts_of", "worker_count"]


def facts_of(model: Model) -> ModelFacts:
    """A loaded model in data."""
    return ModelFacts(
        name=model.name,
        language=model.language,
        geometry=model.geometry,
        vocabulary=model.vocabulary,
        normalise=model.normalise,
        temperature=model.temperature,
        bias=model.bias,
        stateful=model.stateful,
    )


def worker_count(model: Model) -> int:
    """One a core where batches gain nothing, that is on a CPU; else one."""
    if model.max_batch > 1:
        return 1
    if hasattr(os, "sched_getaffinity"):  # the cores that are ours, not the machine's
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
