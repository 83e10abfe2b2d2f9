"""Partials give way, nothing else does."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.events import Ack, Final, Partial, Pass
from streaming.server.outbox import Closing, Outbox


def partial(utterance, number, channel=0):
    return Partial(channel, utterance, str(number), 0, 0.0, 1.0)


def final(utterance, channel=0):
    return Final(channel, utterance, "", 0.0, 1.0, 1.0, Pass.FULL)


async def taken(outbox):
    outbox.close(1000)
    events = []
    while not isinstance(item := await outbox.take(), Closing):
        events.append(item.event)
    return events


async def test_the_latest_partial_of_an_utterance_wins():
    outbox = Outbox(10)
    for event in [partial(0, 1), Ack(1), partial(0, 2), partial(0, 3, channel=1)]:
        outbox.put(event)

    assert [Ack(1), partial(0, 2), partial(0, 3, channel=1)] == await taken(outbox)
    assert outbox.coalesced == 1


async def test_a_final_replaces_the_partial_that_still_waits():
    outbox = Outbox(10)
    for event in [partial(0, 1), partial(1, 1), final(0)]:
        outbox.put(event)

    assert [partial(1, 1), final(0)] == await taken(outbox)


EVENTS = st.lists(
    st.builds(Ack, st.integers(0, 9))
    | st.builds(final, st.integers(0, 2), st.integers(0, 1))
    | st.builds(partial, st.integers(0, 2), st.integers(0, 9), st.integers(0, 1))
)


@given(EVENTS)
def test_whatever_comes_finals_and_answers_stay_whole_and_in_order(events):
    async def run():
        outbox = Outbox(1_000)
        for event in events:
            outbox.put(event)
        return await taken(outbox)

    left = asyncio.run(run())

    kept = [e for e in events if not isinstance(e, Partial)]
    assert kept == [e for e in left if not isinstance(e, Partial)]
    keys = [(e.channel, e.utterance) for e in left if isinstance(e, Partial)]
    assert len(keys) == len(set(keys))


async def test_partials_alone_never_fill_it():
    outbox = Outbox(3)
    for number in range(1_000):
        outbox.put(partial(0, number))
    assert not outbox.full

    for number in range(4):
        outbox.put(Ack(number))
    assert outbox.full


async def test_after_a_close_nothing_more_is_taken_and_the_first_close_holds():
    outbox = Outbox(3)
    outbox.put(Ack(1))
    outbox.close(1008, "idle")
    outbox.close(1000)
    outbox.put(Ack(2))

    assert Ack(1) == (await outbox.take()).event
    assert Closing(1008, "idle") == await outbox.take()


@pytest.mark.parametrize("stir", [lambda o: o.put(Ack(1)), lambda o: o.close(1000)])
async def test_taking_waits_for_something_to_take(stir):
    outbox = Outbox(3)
    asyncio.get_running_loop().call_soon(stir, outbox)

    assert await outbox.take() is not None
