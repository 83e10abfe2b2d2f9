"""One client's audio in, its text out: order, accounting, and nothing timed."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.config import AudioFormat, Encoding, Finals
from streaming.errors import BadRequest, ModelError, ProtocolError, UnsupportedAudio
from streaming.events import (
    Ack,
    Audio,
    Configure,
    Configured,
    EndReason,
    Final,
    Finish,
    Finished,
    Flush,
    Flushed,
    Keepalive,
    Partial,
    Pass,
    Refused,
    SpeechEnded,
    SpeechStarted,
    Totals,
)
from tests.core.rig import CONFIG, Rig, sound, with_finals

SCRIPT = [(" ", 400), ("a", 300), (" ", 60), ("b", 300), (" ", 900), ("c", 500)]

pieces = st.tuples(st.sampled_from("abc -"), st.integers(20, 1_100))
scripts = st.lists(pieces, min_size=1, max_size=6)
finals = st.sampled_from([Finals.STITCHED, Finals.AUTO])


def told(rig):
    """What follows from the samples alone: everything but partials and acks."""
    return [e for e in rig.events if not isinstance(e, Partial | Ack)]


def test_utterances_become_finals_in_order():
    rig = Rig().play(sound(SCRIPT))

    assert rig.texts == ["ab", "c"]
    assert [f.utterance for f in rig.finals] == [0, 1]
    assert [e.reason for e in rig.of(SpeechEnded)] == [
        EndReason.SILENCE,
        EndReason.FINISH,
    ]
    assert isinstance(rig.events[-1], Finished)


def test_an_utterances_events_stand_in_their_order():
    rig = Rig().play(sound(SCRIPT), chunks=range(0, 40_000, 320))

    kinds = [type(e) for e in rig.events if e.__class__ not in (Ack, Finished)]
    first = kinds[: kinds.index(Final) + 1]
    assert [SpeechStarted, SpeechEnded, Final] == [k for k in first if k is not Partial]
    assert Partial in first


@given(scripts, finals, st.randoms(use_true_random=False), st.data())
@settings(max_examples=40, deadline=None)
def test_neither_chunking_nor_the_engines_pace_changes_what_is_told(
    script, finals, dice, data
):
    samples = sound(script)
    cuts = data.draw(st.lists(st.integers(0, len(samples)), max_size=8))
    flushes = data.draw(st.lists(st.integers(0, len(samples)), max_size=2))
    config = with_finals(finals)

    plain = Rig(config).play(samples, flushes=flushes)
    other = Rig(config, dice=random.Random(dice.random()))
    other.play(samples, chunks=cuts, flushes=flushes)

    assert told(plain) == told(other)


@given(scripts, finals, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_every_sample_is_accounted_for(script, finals, dice):
    samples = sound(script)
    rig = Rig(with_finals(finals), dice=random.Random(dice.random()))
    rig.play(samples, chunks=range(0, len(samples), 999))

    (totals,) = rig.session.totals
    assert totals == rig.events[-1].totals[0]
    assert totals.received == len(samples)
    assert totals.received == totals.decoded + totals.gated
    spans = sum(round((f.end - f.start) * 16_000) for f in rig.finals)
    if finals is Finals.STITCHED:
        assert totals.decoded == spans
    else:  # a full pass may leave silence at the end out
        assert totals.decoded >= spans


@given(scripts, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_stable_prefix_holds(script, dice):
    samples = sound(script)
    rig = Rig(dice=random.Random(dice.random()))
    rig.play(samples, chunks=range(0, len(samples), 1_600))

    for final in rig.finals:
        partials = [p for p in rig.of(Partial) if p.utterance == final.utterance]
        stable, covered = 0, 0.0
        for partial in partials:
            assert stable <= partial.stable <= len(partial.text)
            stable = partial.stable
            assert covered <= partial.end
            covered = partial.end
            assert final.text.startswith(partial.text[:stable])


@given(scripts, finals)
@settings(max_examples=20, deadline=None)
def test_each_utterance_has_one_final(script, finals):
    rig = Rig(with_finals(finals)).play(sound(script))

    started = [e.utterance for e in rig.of(SpeechStarted)]
    assert started == list(range(len(started)))
    assert started == [f.utterance for f in rig.finals]
    assert started == [e.utterance for e in rig.of(SpeechEnded)]


def test_the_vad_stuck_on_noise_does_not_hold_an_utterance_open():
    script = [("a", 300), ("-", 2_500), ("b", 300), (" ", 700)]
    rig = Rig().play(sound(script), chunks=range(0, 60_000, 320))

    assert rig.of(SpeechEnded)[0].reason is EndReason.BLANK
    assert rig.texts[0] == "a"
    assert "".join(rig.texts) == "ab"
    ends = [(f.start, f.end) for f in rig.finals]
    assert all(a[1] <= b[0] for a, b in pairwise(ends))


@pytest.mark.parametrize("phase", range(0, 20, 3))
def test_a_final_upon_blanks_waits_for_no_right_context(phase):
    """Hangover and extra, 1 s, have passed; within a hop and a message of it."""
    rig = Rig()
    samples = sound([("a", 300 + 20 * phase), ("-", 2_500)])
    pushed = 0
    while not rig.finals:
        rig.send(Audio(samples[pushed : pushed + 320].tobytes()))
        pushed += 320

    (ended,) = rig.of(SpeechEnded)
    assert ended.at == (300 + 20 * phase) / 1_000
    assert 1.0 <= round(pushed / 16_000 - ended.at, 3) < 1.0 + 0.32


def test_long_speech_is_cut_and_nothing_is_lost_or_doubled():
    script = [("a", 700), (" ", 20), ("b", 700), (" ", 20)] * 8 + [(" ", 800)]
    rig = Rig().play(sound(script))

    assert len(rig.finals) > 2
    assert all(f.end - f.start <= 4.0 for f in rig.finals)
    assert EndReason.MAX_LENGTH in {e.reason for e in rig.of(SpeechEnded)}
    assert all(a.end == b.start for a, b in pairwise(rig.finals))


@pytest.mark.parametrize("phase", [0, 1, 159, 160, 319, 320, 5_000])
def test_the_tail_is_decoded_at_every_phase(phase):
    samples = np.concatenate([sound([(" ", 500), ("a", 400)]), sound([("b", 40)])])
    rig = Rig().play(samples[phase:])

    (text,) = rig.texts
    assert text[:2] == "ab"


def test_a_flush_makes_all_before_it_final_and_is_answered_after_it():
    samples = sound([("a", 500), ("b", 500)])
    dice = random.Random(1)
    rig = Rig(dice=dice).play(samples, flushes=[8_000])

    assert rig.texts == ["a", "b"]
    kinds = [type(e) for e in told(rig)]
    assert kinds.index(Flushed) == kinds.index(Final) + 1
    assert rig.of(Flushed) == [Flushed(8_000)]
    assert rig.finals[1].start == 0.5


def test_a_flush_without_speech_yields_only_flushed():
    rig = Rig()
    rig.send(Audio(sound([(" ", 700)]).tobytes()))
    rig.send(Flush())

    assert [Flushed(11_200)] == [e for e in rig.events if not isinstance(e, Ack)]


def test_commands_are_answered_in_order():
    rig = Rig(dice=random.Random(0))
    rig.send(Audio(sound([("a", 500)]).tobytes()))
    rig.send(Flush())
    rig.send(Configure(hangover_ms=900, partials=False))
    rig.send(Keepalive())
    rig.send(Finish())
    rig.answer_all()

    answers = [e for e in rig.events if isinstance(e, Flushed | Configured | Finished)]
    assert [Flushed, Configured, Finished] == [type(e) for e in answers]
    assert Configured(False, 500, 900, 4.0) == answers[1]


def test_a_bad_setting_is_refused_and_the_stream_goes_on():
    rig = Rig()
    rig.send(Configure(hangover_ms=1))

    (refused,) = rig.events
    assert isinstance(refused.error, BadRequest)
    assert "hangover_ms" in str(refused.error)
    assert not refused.fatal
    rig.play(sound(SCRIPT))
    assert rig.texts == ["ab", "c"]


def test_full_finals_come_from_one_pass_begun_in_the_silence():
    rig = Rig(with_finals(Finals.AUTO)).play(sound(SCRIPT))

    assert [Pass.FULL, Pass.FULL] == [f.made_by for f in rig.finals]
    assert rig.texts == ["ab", "c"]


def test_full_passes_are_begun_at_most_every_two_seconds():
    script = [("a", 200), (" ", 300)] * 6 + [(" ", 700)]
    rig = Rig(with_finals(Finals.AUTO), dice=random.Random(0))
    seen = []
    take = rig.take

    def watch(effects):
        seen.extend(e for e in effects if getattr(e, "kind", None) is Pass.FULL)
        take(effects)

    rig.take = watch
    rig.play(sound(script), chunks=range(0, 60_000, 320))

    lengths = [job.window.hop for job in seen if hasattr(job, "window")]
    gaps = np.diff(lengths)
    assert all(gap >= 32_000 for gap in gaps[:-1])  # the last one is no speculation
    assert len(lengths) >= 2


def test_an_utterance_too_long_for_a_full_pass_is_stitched():
    rig = Rig(with_finals(Finals.FULL), limit=8_000).play(sound(SCRIPT))

    assert {Pass.STITCHED} == {f.made_by for f in rig.finals}


def test_a_full_pass_that_fails_leaves_the_stitched_text():
    config = with_finals(Finals.AUTO)
    rig = Rig(config, fail=frozenset({Pass.FULL})).play(sound(SCRIPT))

    assert rig.texts == ["ab", "c"]
    assert {Pass.STITCHED} == {f.made_by for f in rig.finals}


def test_a_window_that_fails_ends_the_session_and_is_counted():
    rig = Rig(fail=frozenset({Pass.STITCHED}))
    rig.send(Audio(sound(SCRIPT).tobytes()))

    assert isinstance(rig.events[-1], Refused)
    assert isinstance(rig.events[-1].error, ModelError)
    assert len(rig.finals) == len(rig.of(SpeechStarted)) > 0
    (totals,) = rig.session.totals
    assert totals.dropped > 0
    assert totals.received == totals.decoded + totals.gated + totals.dropped
    assert {"model_error"} == {d.reason for d in rig.session.dropped[0]}
    assert rig.session.finished


def test_a_header_in_a_raw_stream_is_refused_and_counted():
    rig = Rig(replace(CONFIG, audio=AudioFormat()))
    rig.send(Audio(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(2_000)))

    assert isinstance(rig.events[-1].error, UnsupportedAudio)
    (totals,) = rig.session.totals
    assert totals.received == totals.dropped > 0


def test_audio_after_finish_is_refused():
    session = Rig().session
    session.receive(Audio(sound([("a", 600)]).tobytes()), 0.0)
    session.receive(Finish(), 0.0)
    effects = session.receive(Audio(b"1234"), 0.0)

    assert isinstance(effects[-1].error, ProtocolError)
    assert session.finished
    assert [] == session.receive(Audio(b"1234"), 0.0)


def test_audio_that_stalls_within_an_utterance_ends_it():
    rig = Rig()
    rig.now = 5.0
    rig.send(Audio(sound([("a", 500)]).tobytes()))

    assert rig.session.wake_at() == 8.0
    rig.take(rig.session.wake(7.9))
    assert rig.finals == []
    rig.take(rig.session.wake(8.0))
    assert rig.texts == ["a"]
    assert rig.of(SpeechEnded)[0].reason is EndReason.STALL
    assert rig.session.wake_at() is None


def test_an_abandoned_session_finishes_its_tail():
    rig = Rig()
    rig.send(Audio(sound([("a", 500)]).tobytes()))
    rig.take(rig.session.abandon(1.0))

    assert rig.texts == ["a"]
    assert rig.session.finished
    assert [] == rig.session.abandon(1.0)


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_other_rates_add_up_and_end_where_they_should(rate):
    audio = AudioFormat(Encoding.PCM_F32LE, rate)
    seconds = 3.21
    count = int(seconds * rate)
    samples = np.full(count, 0.05, np.float32)
    rig = Rig(replace(CONFIG, audio=audio)).play(samples, chunks=range(0, count, 777))

    assert rig.texts == ["a"]
    assert abs(rig.finals[0].end - count / rate) < 1e-3
    assert rig.session.totals == (Totals(count, count, 0, 0, 0),)


def test_two_channels_are_two_streams_on_one_clock():
    audio = AudioFormat(Encoding.PCM_F32LE, 16_000, 2)
    left, right = sound([("a", 500), (" ", 900)]), sound([(" ", 600), ("b", 800)])
    both = np.stack([left, right], axis=1).ravel()
    rig = Rig(replace(CONFIG, audio=audio))
    rig.send(Audio(both.tobytes() + b"\x01\x02\x03"))
    rig.send(Finish())

    assert [(0, "a"), (1, "b")] == [(f.channel, f.text) for f in rig.finals]
    done = rig.events[-1]
    assert [22_400, 22_400] == [t.received for t in done.totals]
    assert done.odd_bytes == 3


def test_samples_that_stand_for_lost_ones_are_told_apart():
    audio = AudioFormat(Encoding.PCM_F32LE, 16_000, 2)
    rig = Rig(replace(CONFIG, audio=audio))
    rig.send(Audio(bytes(8 * 1_000), concealed=(400, 0)))
    rig.send(Audio(b"", late=(0, 50)))
    rig.send(Finish())

    (first, second) = rig.events[-1].totals
    assert Totals(received=600, gated=1_000, concealed=400) == first
    assert Totals(received=1_050, gated=1_000, dropped=50) == second


def test_acks_come_at_least_once_a_second():
    samples = np.zeros(16_000 * 5, np.float32)
    rig = Rig().play(samples, chunks=range(0, 80_000, 320))

    counts = [0, *(e.received for e in rig.of(Ack))]
    assert max(np.diff(counts)) <= 16_000
