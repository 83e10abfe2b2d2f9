from __future__ import annotations

import numpy as np
import pytest

from streaming.errors import ModelError, Overloaded
from streaming.events import Job, Logits, Pass, Window
from streaming.models.model import Windowed
from streaming.models.passes import Failed, forward, run_pass
from streaming.models.states import States
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary
from tests.historian import Historian, digest, full_pass, window


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


# --- steps -----------------------------------------------------------------


def run_windows(model, jobs, states):
    states.begin(jobs)
    answers = run_pass(model, jobs, states)
    states.done(jobs, [each.job for each in answers if isinstance(each, Failed)])
    return answers


def said(answers):
    return [
        round(float(answer.rows[0, 0])) if isinstance(answer, Logits) else None
        for answer in answers
    ]


def test_windows_of_a_stateful_model_are_steps_of_their_own_utterance():
    model, states = Historian(max_batch=8), States()

    first = run_windows(model, [window(1), window(2, stream=1)], states)
    second = run_windows(
        model, [window(3, stream=1, start=640), window(4, start=640)], states
    )

    assert [digest([1]), digest([2])] == said(first)
    assert [digest([2, 3]), digest([1, 4])] == said(second)


def test_full_passes_of_a_stateful_model_know_no_past():
    model, states = Historian(max_batch=8), States()
    run_windows(model, [window(1)], states)

    answers = run_windows(model, [full_pass(5), full_pass(6)], states)

    assert [-5, -6] == said(answers)
    assert [1.0] == model.histories[0].tags


def test_a_step_knows_how_much_of_it_is_hop():
    taken = []

    class Asked(Historian):
        def step(self, batch):
            taken.extend((len(step.samples), step.hop) for step in batch)
            return super().step(batch)

    cut = Window(np.ones(960, np.float32), 0, 0, 640, 320)
    run_windows(Asked(), [Job(0, 0, cut, Pass.STITCHED, 0.0)], States())

    assert [(960, 640)] == taken


def test_steps_that_fail_together_are_taken_one_by_one_and_once():
    model, states = Historian(max_batch=8, fails={2}), States()
    model.armed.set()
    model.gate.set()
    jobs = [window(tag, stream=tag) for tag in (1, 2, 3)]

    answers = run_windows(model, jobs, states)
    after = run_windows(
        model, [window(9, stream=tag, start=640) for tag in (1, 2, 3)], states
    )

    assert [digest([1]), None, digest([3])] == said(answers)
    assert "ValueError: 2 is not to be" in str(answers[1].error)
    assert [digest([1, 9]), None, digest([3, 9])] == said(after)
    assert [3, 1, 1, 1, 2] == model.batches


def test_rows_that_do_not_fit_fail_their_step_alone_and_nothing_is_run_again():
    model, states = Historian(max_batch=8, odd={2}), States()
    model.armed.set()
    model.gate.set()
    jobs = [window(tag, stream=tag) for tag in (1, 2, 3)]

    answers = run_windows(model, jobs, states)

    assert [digest([1]), None, digest([3])] == said(answers)
    assert "gave 3 rows, expected 2" in str(answers[1].error)
    assert [3] == model.batches
    assert [[1.0], [3.0]] == [history.tags for history in model.held]


def test_a_step_without_an_answer_for_each_fails_them_all():
    class Silent(Historian):
        def step(self, batch):
            return super().step(batch)[1:]

    answers = run_windows(
        Silent(max_batch=8), [window(1), window(2, stream=1)], States()
    )

    assert [None, None] == said(answers)
    assert "2 windows gave logits of 1" in str(answers[0].error)


def test_only_the_window_that_finds_no_room_fails_and_is_told_to_come_again():
    model, states = Historian(max_batch=8, room=2), States()

    answers = run_windows(model, [window(n, stream=n) for n in (1, 2, 3)], states)

    assert [digest([1]), digest([2]), None] == said(answers)
    assert isinstance(answers[2].error, Overloaded)


def test_the_end_of_an_utterance_without_samples_is_no_step():
    model, states = Historian(), States()
    run_windows(model, [window(1)], states)

    [answer] = run_windows(model, [window(0, start=640, samples=0, last=True)], states)

    assert (0, 3) == answer.rows.shape
    assert [1] == [history.closed for history in model.histories]
