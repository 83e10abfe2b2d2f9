"""Utterances tile, nothing is lost or doubled, chunking never matters."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.config import GateConfig
from streaming.core.gate import Gate, State
from streaming.core.turns import Closed, Opened, Quiet, Resumed, Speech
from streaming.errors import ConfigError
from streaming.events import EndReason
from streaming.models.vad import WebRtcVad

RATE = 1_000  # one sample is a millisecond
FRAME = 10
CONFIG = GateConfig(
    frame_ms=FRAME,
    onset_frames=5,
    onset_speech_frames=3,
    pre_roll_ms=40,
    hangover_ms=200,
)
SEARCH = 60
LONGEST = 600
SPECULATE = 80
FLUSH = EndReason.FLUSH


def scripted(script):
    """A detector that says these flags, frame by frame, then silence."""

    def detector():
        flags = iter(script)
        return lambda _frame: next(flags, False)

    return detector


def gate_on(script, *, config=CONFIG, start=0, **lengths):
    options = {"search": SEARCH, "max_samples": LONGEST, "speculate": SPECULATE}
    return Gate(config, RATE, scripted(script), start=start, **options | lengths)


def flags(text):
    """'..###' as flags; blanks are for the eye."""
    return [mark == "#" for mark in text.replace(" ", "")]


def audio(length):
    return np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)


def frames(script, extra=0):
    return audio(len(script) * FRAME + extra)


def without_audio(events):
    return [e for e in events if not isinstance(e, Speech)]


def span(speech):
    """Positions that its samples take."""
    return range(speech.start, speech.start + len(speech.samples))


def merged(events):
    """Events with contiguous Speech joined and its audio as bytes."""
    out = []
    for event in events:
        if not isinstance(event, Speech):
            out.append(event)
            continue
        start, data = event.start, event.samples.tobytes()
        if out and isinstance(out[-1], tuple):
            first, before = out[-1]
            if first + len(before) // 4 == start:
                out[-1] = (first, before + data)
                continue
        out.append((start, data))
    return out


def run(gate, samples, sizes=(), reason=FLUSH):
    """Push samples in chunks of these sizes, the rest last, and flush."""
    events = []
    at = 0
    for size in (*sizes, len(samples)):
        events += gate.push(samples[at : at + size])
        at += size
    return events + gate.flush(reason)


def utterances(events):
    """(Opened, samples given, Closed) of each; they must alternate."""
    found = []
    opened, given = None, None
    for event in events:
        match event:
            case Opened():
                assert opened is None
                opened, given = event, []
            case Speech():
                assert opened.start + sum(map(len, given)) == event.start
                given.append(event.samples)
            case Closed():
                found.append((opened, np.concatenate([*given, audio(0)]), event))
                opened = None
    assert opened is None
    return found


scripts = st.lists(
    st.tuples(st.booleans(), st.integers(1, 40)).map(lambda run: [run[0]] * run[1]),
    max_size=12,
).map(lambda runs: [flag for run in runs for flag in run])
extras = st.integers(0, FRAME - 1)
sizes = st.lists(st.integers(0, 300), max_size=20)
configs = st.builds(
    GateConfig,
    frame_ms=st.just(FRAME),
    onset_frames=st.integers(1, 6),
    onset_speech_frames=st.just(1),
    pre_roll_ms=st.integers(0, 90),
    hangover_ms=st.integers(100, 250),
)


@settings(deadline=None)
@given(scripts, extras, sizes, configs, st.integers(0, 50))
def test_chunking_never_matters(script, extra, sizes, config, start):
    samples = frames(script, extra)

    whole = run(gate_on(script, config=config, start=start), samples)
    chunked = run(gate_on(script, config=config, start=start), samples, sizes)

    assert merged(whole) == merged(chunked)


@settings(deadline=None)
@given(scripts, extras, sizes, configs, st.integers(0, 50))
def test_utterances_are_stretches_that_never_overlap(
    script, extra, sizes, config, start
):
    samples = frames(script, extra)

    found = utterances(run(gate_on(script, config=config, start=start), samples, sizes))

    for opened, given_samples, closed in found:
        first = opened.start - start
        stretch = samples[first : first + len(given_samples)]
        assert stretch.tobytes() == given_samples.tobytes()
        cut = len(given_samples) - (closed.end - opened.start)
        assert 0 <= cut <= (SEARCH if closed.reason is EndReason.MAX_LENGTH else 0)
        assert start <= opened.start <= opened.at <= closed.speech_end <= closed.end
    bounds = [n for opened, _, closed in found for n in (opened.start, closed.end)]
    assert sorted(bounds) == bounds
    assert all(closed.end <= start + len(samples) for *_, closed in found)


@settings(deadline=None)
@given(scripts, extras, sizes)
def test_no_utterance_is_longer_than_the_maximum(script, extra, sizes):
    found = utterances(run(gate_on(script), frames(script, extra), sizes))

    assert all(len(given_samples) <= LONGEST for _, given_samples, _ in found)


@settings(deadline=None)
@given(scripts, extras)
def test_every_onset_is_decoded(script, extra):
    found = utterances(run(gate_on(script), frames(script, extra)))

    need, back = CONFIG.onset_speech_frames, CONFIG.onset_frames
    for i in range(len(script)):
        if script[i] and sum(script[max(0, i - back + 1) : i + 1]) >= need:
            end = (i + 1) * FRAME
            assert any(o.start < end <= c.end for o, _, c in found)


@settings(deadline=None)
@given(scripts, extras)
def test_speech_at_the_tail_is_decoded(script, extra):
    samples = frames(script, extra)

    found = utterances(run(gate_on(script), samples))

    if script and script[-1]:
        assert len(samples) == found[-1][2].end
        assert len(samples) == found[-1][2].speech_end


@settings(deadline=None)
@given(scripts, sizes)
def test_what_is_settled_stays(script, sizes):
    gate = gate_on(script)
    samples = frames(script)
    settled = closed = at = 0
    for size in (*sizes, len(samples)):
        for event in gate.push(samples[at : at + size]):
            if isinstance(event, Opened):
                assert event.start >= max(settled, closed)
            if isinstance(event, Closed):
                closed = event.end
        at += size
        assert settled <= gate.settled <= gate.received
        settled = gate.settled
    for event in gate.flush(FLUSH):
        if isinstance(event, Opened):
            assert event.start >= settled


def test_an_onset_needs_n_of_m_and_has_a_pre_roll():
    script = flags(".......... #...# .#... #..##")

    events = gate_on(script).push(frames(script))

    # 3 of 5 frames for the first time at the last frame, counted from frame 20
    assert [Opened(start=200 - 40, at=200)] == without_audio(events)
    assert range(160, 250) == span(events[1])


def test_pre_roll_stops_at_the_start_of_the_gate():
    gate = gate_on(flags(".###"), start=1_000)

    assert Opened(start=1_000, at=1_010) == gate.push(audio(40))[0]


def test_pre_roll_stops_at_the_previous_end():
    script = flags("###" + "." * 20 + ".###")

    events = without_audio(gate_on(script).push(frames(script)))

    assert [
        Opened(0, 0),
        Quiet(30 + SPECULATE),
        Closed(30 + 200, 30, EndReason.SILENCE),
        Opened(230, 240),
    ] == events


def test_hangover_is_decoded_and_speech_within_it_goes_on():
    script = flags("###" + "." * 19 + "#" + "." * 20)

    found = utterances(gate_on(script).push(frames(script)))

    ((_, given_samples, closed),) = found
    assert Closed(430, 230, EndReason.SILENCE) == closed
    assert closed.end == len(given_samples)


def test_quiet_is_told_once_a_silence_with_all_samples_before_it():
    script = flags("###" + "." * 15 + "#" + "." * 10)

    events = gate_on(script).push(frames(script))

    assert [Quiet(30 + 80), Quiet(190 + 80)] == [
        e for e in events if isinstance(e, Quiet)
    ]
    given_samples = 0
    for event in events:
        if isinstance(event, Speech):
            given_samples += len(event.samples)
        if isinstance(event, Quiet):
            assert event.at == given_samples


def test_speech_that_goes_on_is_told_where_quiet_was():
    script = flags("###" + "." * 3 + "#" + "." * 15 + "##" + "." * 20)

    events = without_audio(gate_on(script).push(frames(script)))

    told = [e for e in events if isinstance(e, Quiet | Resumed)]
    assert [Quiet(70 + 80), Resumed(220), Quiet(240 + 80)] == told


def test_silence_that_ends_an_utterance_shrinks_before_the_maximum():
    # 100 ms pause at 480: 80 % of the maximum, the hangover still whole
    at_four_fifths = flags("#" * 38 + "." * 10 + "#")
    assert [Opened(0, 0), Quiet(380 + 80), Resumed(480)] == without_audio(
        gate_on(at_four_fifths).push(frames(at_four_fifths))
    )
    # half way through the last fifth 150 ms suffice
    half_way = flags("#" * 39 + "." * 15 + "#")
    ended = without_audio(gate_on(half_way).push(frames(half_way)))
    assert Closed(540, 390, EndReason.MAX_LENGTH) == ended[-1]
    # near the maximum little more than 100 ms
    near = flags("#" * 47 + "." * 12 + "#")
    ended = without_audio(gate_on(near).push(frames(near)))
    assert Closed(590, 470, EndReason.MAX_LENGTH) == ended[-1]


def test_long_speech_is_cut_at_its_quietest_frame_and_goes_on():
    script = [True] * 70
    samples = frames(script)
    samples[560:590] *= 0.01

    gate = gate_on(script)
    events = gate.push(samples)

    assert [
        Opened(0, 0),
        Closed(575, 575, EndReason.MAX_LENGTH),
        Opened(575, 575),
    ] == without_audio(events)
    assert State.SPEAKING is gate.state
    first, second = [e for e in events if isinstance(e, Speech)]
    assert range(600) == span(first)
    assert samples[575:700].tobytes() == second.samples.tobytes()


def test_a_lone_quiet_frame_is_no_place_to_cut():
    samples = np.full(700, 0.1, np.float32)
    samples[520:530] = 0  # a stop's closure
    samples[560:590] = 0.01

    events = gate_on([True] * 70, search=100).push(samples)

    assert Closed(575, 575, EndReason.MAX_LENGTH) in events


def test_a_cut_within_a_pause_tells_where_speech_ended():
    script = flags("#" * 55 + "." * 15)
    samples = frames(script)
    samples[580:590] = 0

    events = without_audio(gate_on(script).push(samples))

    assert Closed(585, 550, EndReason.MAX_LENGTH) in events
    assert Opened(585, 585) in events


def test_a_gate_without_a_search_cuts_at_the_maximum():
    script = [True] * 70

    events = without_audio(gate_on(script, search=0).push(frames(script)))

    assert [
        Opened(0, 0),
        Closed(600, 600, EndReason.MAX_LENGTH),
        Opened(600, 600),
    ] == events


def test_flush_ends_an_utterance_at_the_last_sample():
    gate = gate_on(flags("#####"))
    gate.push(audio(57))

    (speech, closed) = gate.flush(EndReason.FINISH)

    assert range(50, 57) == span(speech)
    assert Closed(57, 57, EndReason.FINISH) == closed


def test_flush_in_a_pause_tells_where_speech_ended():
    gate = gate_on(flags("#####..."))
    gate.push(audio(84))

    assert Closed(84, 50, FLUSH) == gate.flush(FLUSH)[-1]


def test_flush_decodes_an_incomplete_onset():
    gate = gate_on(flags("......#."))
    assert not gate.push(audio(85))

    (opened, speech, closed) = gate.flush(FLUSH)

    assert Opened(20, 60) == opened
    assert range(20, 85) == span(speech)
    assert Closed(85, 70, FLUSH) == closed


def test_flush_of_silence_is_nothing():
    gate = gate_on(flags("..#......."))
    gate.push(audio(95))

    assert not gate.flush(FLUSH)
    assert State.WAITING is gate.state


def test_frames_begin_anew_at_a_flush_and_nothing_reaches_back():
    seen = []

    def detector():
        def is_speech(frame):
            seen.append(frame)
            return True

        return is_speech

    gate = Gate(CONFIG, RATE, detector, search=0, max_samples=LONGEST, speculate=80)
    samples = audio(67)
    gate.push(samples[:17])
    gate.flush(FLUSH)

    events = gate.push(samples[17:])

    assert Opened(17, 17) == events[0]
    assert samples[17:27].tobytes() == seen[1].tobytes()


def test_configure_changes_the_hangover_from_here_on():
    script = flags("###" + "." * 40)
    gate = gate_on(script)
    samples = frames(script)
    gate.push(samples[:180])
    gate.configure(GateConfig(**as_dict(CONFIG) | {"hangover_ms": 300}), LONGEST)

    assert Closed(330, 30, EndReason.SILENCE) in gate.push(samples[180:])


@settings(deadline=None)
@given(scripts, sizes, sizes, st.integers(200, 500), st.integers(100, 400))
def test_configure_acts_at_its_sample(script, before, after, longest, hangover):
    samples = frames(script)
    at = len(samples) // 3
    config = GateConfig(**as_dict(CONFIG) | {"hangover_ms": hangover})

    def events(before, after):
        gate = gate_on(script)
        found = []
        position = 0
        for size in (*before, at):
            found += gate.push(samples[position : min(at, position + size)])
            position = min(at, position + size)
        gate.configure(config, longest)
        return found + run(gate, samples[at:], after)

    assert merged(events((), ())) == merged(events(before, after))


def test_an_utterance_past_a_new_maximum_ends_in_its_next_short_pause():
    script = flags("#" * 40 + "." * 9 + "#" + "." * 10 + "#" * 40)
    gate = gate_on(script, max_samples=1_000)
    samples = frames(script)
    gate.push(samples[:400])
    gate.configure(CONFIG, 300)

    events = [e for e in gate.push(samples[400:]) if isinstance(e, Closed)]

    assert Closed(600, 500, EndReason.MAX_LENGTH) == events[0]
    assert 840 < events[1].end <= 900  # the next one has the new maximum


def test_a_longer_pre_roll_reaches_back_to_audio_that_is_still_there():
    script = flags("." * 30 + "###")
    samples = frames(script)
    gate = gate_on(script)
    gate.push(samples[:300])
    settled = gate.settled
    gate.configure(GateConfig(**as_dict(CONFIG) | {"pre_roll_ms": 300}), LONGEST)

    opened, speech = gate.push(samples[300:])

    assert Opened(settled, 300) == opened
    assert samples[settled:].tobytes() == speech.samples.tobytes()


def test_configure_cannot_change_the_detector():
    gate = gate_on([])

    with pytest.raises(ConfigError, match="vad_mode"):
        gate.configure(GateConfig(**as_dict(CONFIG) | {"vad_mode": 0}), LONGEST)


def test_lengths_that_contradict_are_refused():
    with pytest.raises(ConfigError, match=r"gives 100 samples, .* need 110"):
        gate_on([], max_samples=100)
    with pytest.raises(ConfigError, match="frame_ms 10 is no whole number"):
        Gate(CONFIG, 11_025, scripted([]), search=0, max_samples=99_999, speculate=1)


def as_dict(config):
    return {name: getattr(config, name) for name in config.__slots__}


# --- real speech and the real detector --------------------------------------


@pytest.fixture(scope="module")
def minute(speech_folder):
    """About a minute of read sentences with a second of quiet between them."""
    lines = (speech_folder / "test" / "manifest.jsonl").read_text().splitlines()
    clips = [json.loads(line) for line in lines]
    quiet = audio(16_000) * 0.001
    parts, spans, at = [], [], 0
    for clip in [c for c in clips if c["corpus"] == "librispeech"][:5]:
        samples, rate = soundfile.read(
            speech_folder / "test" / clip["audio"], dtype="float32"
        )
        assert rate == 16_000
        parts += [quiet, samples]
        spans.append((at + len(quiet), at + len(quiet) + len(samples)))
        at = spans[-1][1]
    return np.concatenate([*parts, quiet]), spans


def real_gate(**options):
    return Gate(
        GateConfig(),
        16_000,
        lambda: WebRtcVad(16_000, 2),
        **{"search": 5_120, "max_samples": 480_000, "speculate": 3_200} | options,
    )


def test_real_speech_gives_the_same_events_in_any_chunking(minute):
    samples, _ = minute
    whole = merged(run(real_gate(), samples))

    for size in (160, 777, 4_096):
        sizes = [size] * (len(samples) // size)
        assert whole == merged(run(real_gate(), samples, sizes))


def test_real_speech_is_decoded_and_most_quiet_is_gated(minute):
    samples, spans = minute

    found = utterances(run(real_gate(), samples))

    inside = np.zeros(len(samples), bool)
    for opened, _, closed in found:
        inside[opened.start : closed.end] = True
    energy = np.square(samples.astype(np.float64))
    for start, end in spans:
        held = energy[start:end][inside[start:end]].sum()
        assert held > 0.999 * energy[start:end].sum()
    assert len(spans) <= len(found)
    assert inside.mean() < 0.98


def test_real_speech_is_cut_without_loss_at_a_short_maximum(minute):
    samples, _ = minute

    found = utterances(run(real_gate(max_samples=48_000), samples))

    assert all(len(given_samples) <= 48_000 for _, given_samples, _ in found)
    cuts = [
        (one[2].end, two[0].start)
        for one, two in pairwise(found)
        if one[2].reason is EndReason.MAX_LENGTH and len(one[1]) > 48_000 - 320
    ]
    assert len(cuts) >= 3
    assert all(end == start for end, start in cuts)
    # a cut is quieter than speech around it
    for end, _ in cuts:
        here = np.square(samples[end - 160 : end + 160]).mean()
        around = np.square(samples[end - 5_120 : end + 5_120]).mean()
        assert here < 0.5 * around
