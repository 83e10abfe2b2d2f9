from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.core.pacing import Pacer
from streaming.events import Window

RATE = 1_000
HOP, LEFT, RIGHT = 320, 1_280, 320


def windows(length, hop=HOP, left=LEFT, right=RIGHT):
    """The windows of an utterance of `length` samples."""
    result = []
    start = 0
    while start < length:
        kept = min(hop, length - start)
        after = min(right, length - start - kept)
        before = min(left, start)
        last = start + kept == length
        samples = np.zeros(before + kept + after, np.float32)
        result.append(Window(samples, start, before, kept, after, last))
        start += kept
    return result


def test_a_live_window_is_due_a_budget_after_its_last_sample_arrived():
    pacer = Pacer(RATE, budget_s=0.5)

    for window in windows(10 * HOP)[:8]:
        arrival = 7.0 + (window.start + HOP + RIGHT) / RATE
        assert arrival + 0.5 == pytest.approx(pacer.window(window, 0, arrival))


def test_a_file_pushed_at_once_is_due_at_the_pace_of_speech():
    pacer = Pacer(RATE, budget_s=0.5)

    due = [pacer.window(window, 0, 100.0) for window in windows(5 * HOP)]

    # The last window's hop was right context already: it adds no audio.
    slots = [0.0, 0.32, 0.64, 0.96, 0.96]
    assert [100.5 + slot for slot in slots] == pytest.approx(due)


def test_the_budget_is_added_once_however_many_windows_came():
    patient, eager = Pacer(RATE, budget_s=2.0), Pacer(RATE, budget_s=0.1)

    for window in windows(50 * HOP):
        late, soon = patient.window(window, 0, 0.0), eager.window(window, 0, 0.0)
        assert 1.9 == pytest.approx(late - soon)


def test_gated_audio_adds_nothing_so_a_fast_clock_is_forgiven_at_pauses():
    pacer = Pacer(RATE, budget_s=0.0)
    for window in windows(10 * HOP):
        pacer.window(window, 0, 1.0)  # 3.2 s came at once: slots run to 3.56

    due = pacer.window(windows(HOP)[0], at=60_000, now=20.0)

    assert 20.0 == due


def test_audio_cut_into_windows_anew_adds_nothing():
    pacer = Pacer(RATE, budget_s=0.0)
    first = windows(10 * HOP)
    before = [pacer.window(window, 0, 0.0) for window in first][-1]

    again = [pacer.window(w, at=5 * HOP, now=0.0) for w in windows(5 * HOP)]

    assert [before] * 5 == again


def test_an_empty_last_window_is_due_with_the_one_before_it():
    pacer = Pacer(RATE, budget_s=0.5)
    before = pacer.window(windows(HOP)[0], 0, 3.0)
    empty = Window(np.zeros(HOP, np.float32), HOP, HOP, 0, 0, last=True)

    assert before == pacer.window(empty, 0, 2.9)


def test_a_new_budget_holds_from_the_next_window_on():
    pacer = Pacer(RATE, budget_s=0.5)
    assert 1.5 == pacer.window(windows(HOP)[0], 0, 1.0)

    pacer.budget_s = 0.1

    assert 9.1 == pacer.window(windows(HOP)[0], HOP, 9.0)


def test_a_full_pass_is_due_a_budget_after_the_utterance_can_end():
    pacer = Pacer(RATE, budget_s=0.5)
    pacer.window(windows(HOP)[0], 0, 4.0)

    assert 5.3 + 0.5 == pytest.approx(pacer.full_pass(now=5.0, wait_s=0.3))


def test_the_full_pass_of_a_pushed_file_keeps_its_pace_too():
    pacer = Pacer(RATE, budget_s=0.5)
    last = [pacer.window(window, 0, 0.0) for window in windows(100 * HOP)][-1]

    assert last == pacer.full_pass(now=0.0)


@given(
    lengths=st.lists(st.integers(1, 5_000), min_size=1, max_size=6),
    gaps=st.lists(st.floats(0, 3), min_size=200, max_size=200),
    budget=st.floats(0.02, 10),
)
def test_deadlines_follow_the_definition(lengths, gaps, budget):
    pacer = Pacer(RATE, budget)
    now, at, slot, covered = 0.0, 0, float("-inf"), 0
    arrivals = iter(gaps * 10)
    for length in lengths:
        for window in windows(length):
            now += next(arrivals)
            due = pacer.window(window, at, now)
            end = at + window.start + window.hop + window.right
            slot = max(now, slot + max(0, end - covered) / RATE)
            covered = max(covered, end)
            assert slot + budget == pytest.approx(due)
            assert now + budget <= due + 1e-9
        at += length
        covered = max(covered, at)
