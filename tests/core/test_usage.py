"""Limits of a key: streams at once, minutes a day of UTC."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.core.keys import Key
from streaming.core.usage import Usage
from streaming.errors import LimitReached

DAY_S = 86_400
NOON = 20_000 * DAY_S + DAY_S // 2


def usage(**limits):
    return Usage(Key("desk", "00" * 8, "00" * 32, **limits))


def test_without_limits_there_is_always_room():
    account = usage()
    account.enter(1_000)
    account.add(1e9, NOON)

    account.expect_room(1_000, NOON)
    assert (1_000, 1e9) == (account.streams, account.audio_s)


def test_one_stream_too_many_is_refused_until_one_ends():
    account = usage(streams=3)
    account.enter(2)

    account.expect_room(1, NOON)
    with pytest.raises(LimitReached, match="3 streams at once, has 2 and asked for 2"):
        account.expect_room(2, NOON)
    account.leave(2)
    account.expect_room(2, NOON)


def test_minutes_are_over_until_midnight():
    account = usage(minutes_a_day=10)
    account.add(599.0, NOON)
    assert not account.spent(NOON)
    account.add(1.0, NOON)
    assert account.spent(NOON)

    with pytest.raises(LimitReached, match="10 minutes") as caught:
        account.expect_room(1, NOON)
    assert DAY_S / 2 == caught.value.retry_after_s
    account.expect_room(1, NOON + DAY_S / 2)
    assert 600.0 == account.audio_s


def test_a_clock_set_back_does_not_give_the_day_again():
    account = usage(minutes_a_day=1)
    account.add(60.0, NOON)
    account.add(0.0, NOON - DAY_S)

    assert account.spent(NOON)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 3 * DAY_S)), max_size=30),
    st.integers(1, 5),
)
def test_a_day_is_spent_by_what_came_in_it(pieces, minutes):
    account = usage(minutes_a_day=minutes)
    days = [0.0] * 4
    for seconds, at in sorted(pieces, key=lambda piece: piece[1]):
        account.add(seconds, NOON + at)
        day = int((NOON + at) // DAY_S) - NOON // DAY_S
        days[day] += seconds
        assert (days[day] >= minutes * 60) == account.spent(NOON + at)
