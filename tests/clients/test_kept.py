"""What may have to be sent again: nothing is missing, nothing goes twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.errors import ProtocolBroken
from clients.kept import Kept

FRAME = 2


def sent(kept):
    messages = []
    while (message := kept.next()) is not None:
        messages.append(message)
    return messages


def test_what_is_confirmed_is_forgotten():
    kept = Kept(FRAME, 100)
    for piece in (b"aabb", b"ccdd"):
        kept.audio(piece)
    kept.command("flush")
    assert 4 == kept.samples
    assert [b"aabb", b"ccdd", "flush"] == sent(kept)
    kept.acknowledge(2)
    assert (2, True) == (kept.samples, kept.awaiting)
    kept.acknowledge(4)
    assert kept.awaiting  # a command after the last sample may not have arrived
    kept.answered()
    assert not kept.awaiting


@pytest.mark.parametrize(
    ("received", "commands", "again"),
    [
        (0, 0, [b"aabb", "flush", b"ccdd", "finish"]),
        (1, 0, [b"bb", "flush", b"ccdd", "finish"]),
        (2, 0, ["flush", b"ccdd", "finish"]),
        (2, 1, [b"ccdd", "finish"]),
        (3, 1, [b"dd", "finish"]),
        (4, 1, ["finish"]),
        (4, 2, []),
    ],
)
def test_it_goes_back_to_any_place(received, commands, again):
    kept = Kept(FRAME, 100)
    kept.audio(b"aabb")
    kept.command("flush")
    kept.audio(b"ccdd")
    kept.command("finish")
    sent(kept)
    assert 4 - received == kept.rewind(received, commands)
    assert again == sent(kept)


@pytest.mark.parametrize(("received", "commands"), [(1, 0), (3, 0), (2, 1)])
def test_a_place_that_cannot_be_is_refused(received, commands):
    kept = Kept(FRAME, 100)
    kept.audio(b"aabb")
    sent(kept)
    kept.acknowledge(2)
    with pytest.raises(ProtocolBroken, match=f"{received} samples"):
        kept.rewind(received, commands)


def test_an_answer_to_a_command_taken_before_a_cut_is_not_one_to_the_next():
    kept = Kept(FRAME, 100)
    kept.command("first")
    sent(kept)
    kept.rewind(0, 1)
    kept.command("second")
    sent(kept)
    kept.answered()  # the first
    kept.rewind(0, 1)
    assert ["second"] == sent(kept)


def test_without_a_way_back_nothing_is_kept():
    kept = Kept(FRAME, 0)
    kept.audio(b"aabb")
    kept.command("flush")
    sent(kept)
    kept.forget_sent()
    assert (0, False) == (kept.samples, kept.awaiting)


def test_there_is_room_for_so_much():
    kept = Kept(FRAME, 4)
    kept.audio(b"aa")
    assert kept.room
    kept.audio(b"bb")
    assert not kept.room
    sent(kept)
    kept.acknowledge(1)
    assert kept.room


PIECES = st.lists(
    st.one_of(st.binary(min_size=1, max_size=5), st.just("command")), max_size=20
)


@given(PIECES, st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=8))
def test_a_server_that_is_cut_off_anywhere_gets_everything_once(messages, cuts):
    kept = Kept(FRAME, 1_000)
    audio, commands = b"", 0  # as the server has them
    expected = []
    waiting = list(messages)
    log = []

    def deliver(most):
        nonlocal audio, commands
        for _ in range(most):
            if (message := kept.next()) is None:
                return
            if isinstance(message, str):
                commands += 1
                log.append((len(audio), message))
            else:
                audio += message

    for count, acknowledged in [*cuts, (10**6, True)]:
        for message in waiting[: count + 1]:
            at = len(b"".join(m for m, _ in expected if isinstance(m, bytes)))
            expected.append((message, at))
            if isinstance(message, str):
                kept.command(message)
            else:
                kept.audio(message)
        del waiting[: count + 1]
        deliver(count)
        audio = audio[: len(audio) // FRAME * FRAME] if count < 10**6 else audio
        if acknowledged:
            kept.acknowledge(len(audio) // FRAME)
        if count < 10**6:
            # A command after half a sample has the server on the sample before it.
            kept.rewind(len(audio) // FRAME, commands)

    whole = b"".join(m for m, _ in expected if isinstance(m, bytes))
    assert whole == audio
    assert sum(isinstance(m, str) for m, _ in expected) == commands
