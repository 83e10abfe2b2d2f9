"""Whatever order the sides tell in, the conversation is the same and complete."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streaming.core.conversation import Conversation, Overlap, Turn
from streaming.events import Word

LOOKBACK_S = 1.0


def utterance(number, start, words):
    """Words of 0.3 s that end with their utterance."""
    end = start + 0.4 * max(1, len(words))
    said = tuple(
        Word(word, start + 0.4 * place + 0.1, start + 0.4 * place + 0.4, 0.9)
        for place, word in enumerate(words)
    )
    return Turn("", number, start, end, " ".join(words), 0.9, said)


@st.composite
def side(draw, name):
    """Utterances that follow each other, each word its own."""
    at, turns = 0.0, []
    for number in range(draw(st.integers(0, 6))):
        at += draw(st.floats(0, 3))
        words = [f"{name}{number}.{n}" for n in range(draw(st.integers(0, 5)))]
        turns.append(utterance(number, at, words))
        at = turns[-1].end
    return turns


def told(turns):
    """What a server tells of one side, in order: calls on a conversation."""
    for turn in turns:
        yield "reached", turn.start
        yield "began", turn.start + LOOKBACK_S / 2
        yield "reached", turn.end + 60  # audio is taken over before its words are known
        yield "said", turn
        yield "reached", turn.end
    yield "ended", None


def merged(sides, order):
    """All turns, as the sides are asked in this order; then whatever is left."""
    conversation = Conversation(["caller", "agent"], LOOKBACK_S)
    calls, out = [told(turns) for turns in sides], []
    for number in [*order, *[0] * 99, *[1] * 99]:
        match next(calls[number], None):
            case ("said", turn):
                out += conversation.said(number, turn)
            case ("ended", _):
                out += conversation.ended(number)
            case ("began", at):
                conversation.began(number, at)
            case ("reached", at):
                out += conversation.reached(number, at)
    return out


@given(side("a"), side("b"), st.lists(st.integers(0, 1), max_size=60))
def test_no_word_is_lost_doubled_or_out_of_order(caller, agent, order):
    turns = merged((caller, agent), order)

    for speaker, told_ in (("caller", caller), ("agent", agent)):
        assert [word for turn in told_ for word in turn.words] == [
            word for turn in turns if turn.speaker == speaker for word in turn.words
        ]
    assert all(one.start <= other.start for one, other in pairwise(turns))


@given(side("a"), side("b"), st.lists(st.integers(0, 1), max_size=60))
def test_the_order_of_telling_changes_nothing(caller, agent, order):
    assert merged((caller, agent), []) == merged((caller, agent), order)


@given(side("a"), side("b"), st.lists(st.integers(0, 1), max_size=60))
def test_overlaps_are_where_both_spoke_and_are_marked_on_both(caller, agent, order):
    turns = merged((caller, agent), order)

    marked = {
        (turn.speaker, turn.utterance, overlap)
        for turn in turns
        for overlap in turn.overlaps
    }
    expected = set()
    for one in turns:
        for other in turns:
            start, end = max(one.start, other.start), min(one.end, other.end)
            if one.speaker != other.speaker and start < end:
                overlap = Overlap(start, end, other.speaker)
                expected.add((one.speaker, one.utterance, overlap))
    assert expected == marked


def test_a_turn_waits_for_the_other_side_to_reach_its_end():
    conversation = Conversation(["caller", "agent"], LOOKBACK_S)
    turn = utterance(0, 1.0, ["hello", "there"])

    assert [] == conversation.said(0, turn)
    assert [] == conversation.reached(1, turn.end + LOOKBACK_S - 0.01)
    (out,) = conversation.reached(1, turn.end + LOOKBACK_S)
    assert ("caller", turn.words[0].start) == (out.speaker, out.start)
    assert turn.words[-1].end == out.end


def test_a_turn_waits_for_what_the_other_side_is_saying():
    conversation = Conversation(["caller", "agent"], LOOKBACK_S)
    conversation.began(1, 1.2)

    assert [] == conversation.said(0, utterance(0, 1.0, ["yes"]))
    assert [] == conversation.reached(1, 9.0)
    (first,) = conversation.said(1, utterance(0, 1.2, ["so", "then"]))
    (second,) = conversation.ended(0)
    assert ("caller", "agent") == (first.speaker, second.speaker)
    assert [Overlap(second.start, first.end, "agent")] == list(first.overlaps)


def test_a_side_alone_waits_for_nobody():
    conversation = Conversation(["caller"])

    assert 1 == len(conversation.said(0, utterance(0, 1.0, ["hello"])))


def test_a_side_that_joins_holds_up_what_is_said_after_that():
    conversation = Conversation(["caller"], LOOKBACK_S)
    agent = conversation.join("agent", 2.0)

    assert 1 == len(conversation.said(0, utterance(0, 1.0, ["hello"])))
    assert [] == conversation.said(0, utterance(1, 3.0, ["still", "there"]))
    assert 1 == len(conversation.ended(agent))
