"""What the client is told of one utterance, and what it is spared."""

from __future__ import annotations

from dataclasses import dataclass, field

from streaming.config import GateConfig
from streaming.core.decoder import Hypothesis
from streaming.core.reporting import Reporter
from streaming.core.turns import Closed
from streaming.core.utterance import Utterance
from streaming.core.windows import Windower, WindowShape
from streaming.events import EndReason, Partial, SpeechEnded, SpeechStarted


@dataclass
class Scripted:
    """A decoder that says what it is told to."""

    hypothesis: Hypothesis = field(default_factory=Hypothesis)
    spoken_end: int | None = None


def utterance(start=16_000, at=20_800):
    return Utterance(
        serial=7,
        epoch=0,
        start=start,
        at=at,
        gate=GateConfig(),
        windower=Windower(WindowShape(0, 320, 0), False),
        decoder=Scripted(),
    )


def texts(reporter, one, *hypotheses):
    found = []
    for text, stable, end in hypotheses:
        one.decoder.hypothesis = Hypothesis(text, stable, end)
        partial = reporter.partial(one)
        found.append(None if partial is None else partial.text)
    return found


def begun():
    reporter, one = Reporter(0, 16_000), utterance()
    reporter.started(one)
    return reporter, one


def test_an_utterance_is_announced_once_with_its_first_speech():
    reporter, one = Reporter(1, 16_000), utterance()

    assert SpeechStarted(1, 0, 1.3) == reporter.started(one)
    assert reporter.started(one) is None
    assert SpeechStarted(1, 1, 1.3) == reporter.started(utterance())


def test_a_partial_covers_its_utterance_up_to_what_was_heard():
    reporter, one = begun()
    one.decoder.hypothesis = Hypothesis("turn on", 4, 8_000)

    assert Partial(0, 0, "turn on", 4, 1.0, 1.5) == reporter.partial(one)


def test_the_same_hypothesis_is_not_told_again():
    heard = texts(*begun(), ("a", 0, 320), ("a", 0, 640), ("a", 1, 960), ("a", 1, 999))

    assert ["a", None, "a", None] == heard


def test_nothing_is_told_before_there_is_text():
    assert [None, None] == texts(*begun(), ("", 0, 320), ("", 0, 640))


def test_text_that_is_taken_back_is_told():
    heard = texts(*begun(), ("li", 0, 320), ("", 0, 640), ("", 0, 960), ("on", 0, 999))

    assert ["li", "", None, "on"] == heard


def test_the_end_of_speech_is_told_once():
    reporter, one = begun()

    assert reporter.ended(one) is None
    one.closed = Closed(32_000, 24_000, EndReason.SILENCE)
    assert SpeechEnded(0, 0, 1.5, EndReason.SILENCE) == reporter.ended(one)
    assert reporter.ended(one) is None


def test_an_utterance_that_the_decoder_cut_tells_no_more_partials():
    reporter, one = begun()
    assert ["turn on"] == texts(reporter, one, ("turn on", 4, 9_600))
    one.closed = Closed(24_000, 20_000, EndReason.BLANK)

    assert [None] == texts(reporter, one, ("turn", 4, 8_000))


def test_coalesced_partials_are_a_while_of_audio_apart_and_the_latest_is_told():
    reporter, one = begun()
    heard = []
    for n in range(1, 9):
        one.decoder.hypothesis = Hypothesis("a" * n, 0, n * 5_120)
        partial = reporter.partial(one, every_s=0.96)
        heard.append(partial and partial.text)

    assert ["a", None, None, "aaaa", None, None, "a" * 7, None] == heard
    # The same hypothesis, once partials are not coalesced any more.
    assert "a" * 8 == reporter.partial(one).text
