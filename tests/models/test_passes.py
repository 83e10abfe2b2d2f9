from __future__ import annotations

import numpy as np
import pytest

from streaming.errors import ModelError
from streaming.events import Job, Logits, Pass, Window
from streaming.models.model import Windowed
from streaming.models.passes import Failed, forward, run_pass
from streaming.models.states import States
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary


class Echo(Windowed):
    """Rows that say their window's first sample; -1 fails its whole batch."""

    geometry = Geometry()
    vocabulary = Vocabulary(("<pad>", "a"), 0, None, frozenset())

    def __init__(self, rows_more=0):
        self.rows_more = rows_more
        self.batches = []

    def forward(self, batch):
        self.batches.append(len(batch))
        if any(samples[0] < 0 for samples in batch):
            raise ValueError("negative")
        return [
            np.full((self.geometry.steps(len(samples)), 2), samples[0], np.float32)
            for samples in batch
        ] + [np.zeros((1, 2), np.float32)] * self.rows_more


def job(tag, samples=640):
    window = Window(np.full(samples, tag, np.float32), 0, 0, samples, 0)
    return Job(tag, 0, window, Pass.STITCHED, 0.0)


def test_each_job_gets_its_own_rows_and_windows_without_samples_none():
    jobs = [job(3), job(4, samples=0), job(5)]

    answers = run_pass(Echo(), jobs, States())

    assert jobs == [answer.job for answer in answers]
    assert [(2, 2), (0, 2), (2, 2)] == [answer.rows.shape for answer in answers]
    assert (3, 5) == (answers[0].rows[0, 0], answers[2].rows[0, 0])


def test_a_batch_that_fails_is_run_job_by_job():
    model = Echo()

    answers = run_pass(model, [job(1), job(-1), job(2)], States())

    assert [Logits, Failed, Logits] == [type(answer) for answer in answers]
    assert [3, 1, 1, 1] == model.batches
    assert "640 samples of stream -1, utterance 0" in str(answers[1].error)


def test_more_windows_than_were_asked_about_are_a_model_error():
    with pytest.raises(ModelError, match="1 windows gave logits of 2"):
        forward(Echo(rows_more=1), [np.ones(640, np.float32)])
