"""The tape gives back what came, in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.core.tape import Mark, Tape

entries = st.lists(st.one_of(st.integers(0, 50), st.sampled_from("xyz")), max_size=20)


def record(script):
    """A tape, and what a replay from the start should give, unjoined."""
    tape, plain, position = Tape(), [], 0
    for entry in script:
        if isinstance(entry, int):
            samples = np.arange(position, position + entry, dtype=np.float32)
            tape.add(samples)
            plain += list(samples)
            position += entry
        else:
            tape.mark(entry)
            plain.append((position, entry))
    return tape, plain


def unjoined(replay):
    plain = []
    for item in replay:
        plain += [(item.at, item.command)] if isinstance(item, Mark) else list(item)
    return plain


@given(entries, st.integers(0, 400), st.integers(0, 400))
def test_a_replay_is_what_came_from_there_on(script, start, forgotten):
    tape, plain = record(script)
    start = min(start, tape.end)
    tape.forget(min(forgotten, start))

    expected = [e for e in plain if (e[0] if isinstance(e, tuple) else e) >= start]
    heard = unjoined(tape.replay(start))
    if forgotten >= start:  # commands at the very point that is settled are done
        expected = [e for e in expected if not (isinstance(e, tuple) and e[0] == start)]
        heard = [e for e in heard if not (isinstance(e, tuple) and e[0] == start)]
    assert expected == heard


@given(entries, st.integers(0, 400), st.integers(0, 400))
def test_any_stretch_that_is_kept_can_be_read(script, low, high):
    tape, _ = record(script)
    low, high = sorted((min(low, tape.end), min(high, tape.end)))
    tape.forget(low)

    assert list(range(low, high)) == tape.between(low, high).tolist()


def test_what_is_forgotten_cannot_be_read():
    tape = Tape()
    tape.add(np.zeros(10, np.float32))
    tape.add(np.zeros(10, np.float32))
    tape.forget(10)

    with pytest.raises(ValueError, match="10 to 20 kept"):
        tape.between(5, 15)
