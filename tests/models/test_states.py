from __future__ import annotations

from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from streaming.errors import ModelError, Overloaded
from streaming.events import Cancel, Pass
from streaming.models.states import Held, Room, States
from tests.historian import Historian, full_pass, window


def begun(states, model, job):
    states.begin([job])
    return states.of(model, job)


def test_windows_of_an_utterance_share_a_state_and_others_do_not():
    states, model = States(), Historian()
    first = begun(states, model, one := window(1))
    states.done([one])

    assert first is begun(states, model, window(2, start=640))
    assert first is not begun(states, model, window(3, utterance=1))
    assert first is not begun(states, model, window(4, stream=1))
    assert 3 == len(model.held)


def test_a_window_without_samples_needs_no_state():
    states, model = States(), Historian()
    empty = window(1, samples=0, last=True)

    states.begin([empty])
    states.done([empty])

    assert [] == model.histories
    assert Held() == states.held


def test_a_window_whose_state_is_gone_is_a_model_error():
    states, model = States(), Historian()
    begun(states, model, first := window(1))
    states.done([first], failed=[first])
    states.begin([late := window(2, start=640)])

    with pytest.raises(ModelError, match=r"stream 0, utterance 0 is gone.* 640"):
        states.of(model, late)
    assert [] == model.held


def test_no_room_is_an_overload_with_the_numbers():
    states, model = States(), Historian(room=1)
    begun(states, model, window(1))
    states.begin([second := window(2, stream=1)])

    with pytest.raises(Overloaded, match="beside 1: all 1 slots are taken"):
        states.of(model, second)
    states.done([second], failed=[second])
    states.close()
    assert [1] == [history.closed for history in model.histories]


def test_what_is_held_is_counted_by_stream():
    states, model = States(), Historian()
    jobs = [window(1), window(2, utterance=1), window(3, stream=1)]
    for number, job in enumerate(jobs, start=1):
        begun(states, model, job).tags += [0.0] * number
        states.done([job])

    assert Held(states=3, bytes=600, most_bytes=300) == states.held


def test_a_full_pass_neither_opens_nor_ends_a_state():
    states, model = States(), Historian()
    begun(states, model, one := window(1))
    states.done([one])

    states.begin([whole := full_pass(2)])
    states.done([whole], failed=[whole])
    states.cancel(Cancel(0, 0, Pass.FULL))

    assert 1 == len(model.held)


def test_a_state_that_cannot_be_closed_is_logged_and_in_nobodys_way(caplog):
    states, model = States(), Historian()

    def close():
        raise ValueError("stuck")

    begun(states, model, one := window(1, last=True)).close = close
    begun(states, model, two := window(2, stream=1, last=True))

    states.done([one, two])

    assert "could not be closed" in caplog.text
    assert 1 == model.histories[1].closed


class OpenedAndClosed(RuleBasedStateMachine):
    """Against what must be open, in any order of events."""

    def __init__(self):
        super().__init__()
        self.states, self.model = States(), Historian(room=4)
        self.starts = {}  # by (stream, utterance): samples given so far
        self.running = {}  # by stream: (job, its state), as a stream has one at most
        self.unwanted = set()
        self.open = {}  # by (stream, utterance): the state that must be open
        self.tags = count()

    streams = st.integers(0, 2)

    @rule(stream=streams, utterance=st.integers(0, 1), last=st.booleans())
    def begin(self, stream, utterance, last):
        if stream in self.running:
            return
        key = (stream, utterance)
        start = self.starts.get(key, 0)
        job = window(
            next(self.tags), stream=stream, utterance=utterance, start=start, last=last
        )
        self.states.begin([job])
        self.running[stream] = job
        self.starts[key] = start + 640
        expected = self.open.get(key)
        room = len(self.model.held) < 4
        try:
            state = self.states.of(self.model, job)
        except Overloaded:
            assert start == 0
            assert not room
        except ModelError:
            assert start > 0
            assert expected is None
        else:
            assert not state.closed
            assert (expected is None) == (start == 0)
            assert expected in (None, state)
            self.open[key] = state

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failed=st.booleans())
    def done(self, data, failed):
        stream = data.draw(st.sampled_from(sorted(self.running)))
        job = self.running.pop(stream)
        key = (stream, job.utterance)
        self.states.done([job], [job] if failed or key not in self.open else [])
        if failed or job.window.last or job in self.unwanted:
            self.end(key)
        elif key not in self.open:
            self.starts.pop(key, None)

    @rule(
        stream=streams,
        utterance=st.none() | st.integers(0, 1),
        kind=st.sampled_from([None, *Pass]),
    )
    def cancel(self, stream, utterance, kind):
        self.states.cancel(Cancel(stream, utterance, kind))
        if kind is Pass.FULL:
            return
        for key in [(stream, u) for u in (0, 1) if utterance in (None, u)]:
            job = self.running.get(stream)
            if job is not None and job.utterance == key[1]:
                self.unwanted.add(job)
            else:
                self.end(key)

    @precondition(lambda self: not self.running)
    @rule()
    def stop(self):
        self.states.close()
        self.open.clear()
        self.starts.clear()
        assert [] == self.model.held

    def end(self, key):
        self.open.pop(key, None)
        self.starts.pop(key, None)

    @invariant()
    def what_must_be_open_is_and_nothing_else(self):
        assert set(self.open.values()) == set(self.model.held)
        assert len(self.open) == self.states.held.states
        assert all(history.closed <= 1 for history in self.model.histories)

    def teardown(self):
        self.states.done(list(self.running.values()))
        self.states.close()
        assert {1} >= {history.closed for history in self.model.histories}


TestOpenedAndClosed = OpenedAndClosed.TestCase
TestOpenedAndClosed.settings = settings(max_examples=40, stateful_step_count=40)


# --- room --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "most_bytes", "learnt"),
    [
        (None, 0, Room()),
        (None, 0, Room(each_bytes=300)),
        (None, 1_000, Room()),  # nobody knows yet what one takes
        (3, 1_000, Room(each_bytes=300)),
        (2, 1_000, Room(each_bytes=300, most_states=2)),
        (5, 0, Room(each_bytes=300, most_states=5)),
        (1, 100, Room(each_bytes=300)),
    ],
)
def test_how_many_there_is_room_for(expected, most_bytes, learnt):
    states = States(most_bytes)
    states.learn(learnt)

    assert expected == states.held.most_states


def test_past_the_bound_on_their_memory_one_more_is_refused_until_one_is_closed():
    states, model = States(1_000), Historian()
    states.learn(Room(each_bytes=300))
    jobs = [window(1, stream=stream) for stream in range(3)]
    for job in jobs:
        begun(states, model, job)
    states.begin([fourth := window(1, stream=3)])

    with pytest.raises(Overloaded, match="all 3 places"):
        states.of(model, fourth)
    states.done([fourth], failed=[fourth])
    with pytest.raises(Overloaded, match="all 3 places"):
        states.admit()

    states.cancel(Cancel(0, None))  # it runs: the place is free when it has ended
    with pytest.raises(Overloaded, match="all 3 places"):
        states.admit()
    states.done([jobs[0]])
    states.admit()


def test_what_one_takes_is_learnt_from_those_that_run():
    states, model = States(1_000), Historian()
    begun(states, model, job := window(1))
    model.histories[0].tags = [1.0] * 5

    states.done([job])

    assert 2 == states.held.most_states


def test_where_the_model_had_no_room_nobody_is_let_in_until_there_is():
    states, model = States(), Historian(room=1)
    begun(states, model, first := window(1))
    states.begin([second := window(2, stream=1)])
    states.admit()
    with pytest.raises(Overloaded, match="no room for the state of one more"):
        states.of(model, second)
    states.done([second], failed=[second])

    with pytest.raises(Overloaded, match="all 1 places"):
        states.admit()
    states.done([first])
    states.cancel(Cancel(0, None))
    states.admit()
