"""Files to text: with a model that reads amplitudes, so that texts are known."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from streaming.cli.transcribe import Format
from streaming.cli.transcribe import written as laid_out
from streaming.config import Config, EngineConfig, Finals, StreamConfig
from streaming.errors import ModelError, UnsupportedAudio
from streaming.events import Final, Finished, Partial, Pass, Word
from streaming.models.model import Windowed
from streaming.numeric.recordings import read_samples
from streaming.tools import workbench
from streaming.tools.onepass import one_passes, quiet_cuts
from streaming.tools.playing import Take, play
from streaming.tools.transcribe import transcribe, transcripts
from streaming.tools.workbench import open_workbench
from tests.core import rig

CONFIG = Config(engine=EngineConfig(workers=2), stream=rig.CONFIG)
# Two utterances, 1 s of silence between them.
HELLO = [(" ", 400), ("a", 300), ("-", 60), ("b", 300), (" ", 1_000)]
AGAIN = [("c", 300), ("-", 60), ("d", 300), (" ", 700)]


class Amplitudes(Windowed):
    """The model of the core's rig, behind the seam."""

    name, language = "amplitudes", "en"
    geometry, vocabulary = rig.GEOMETRY, rig.VOCABULARY
    normalise, temperature, max_batch, pads = False, 1.0, 1, False
    fails_from = 10**9

    def forward(self, batch):
        for samples in batch:
            if len(samples) >= self.fails_from and np.abs(samples).any():
                raise RuntimeError("out of memory")
        return [rig.rows_of(samples) for samples in batch]

    def clone(self):
        return self

    def close(self):
        pass


@pytest.fixture(autouse=True)
def _amplitudes(monkeypatch):
    monkeypatch.setattr(workbench, "load_model", lambda *_: Amplitudes())
    monkeypatch.setattr(workbench, "load_detector", lambda *_: rig.detector)
    # Its passes read the samples' heights; warming up with noise costs seconds.
    passes = [(16_000, 1, 0.01)]
    monkeypatch.setattr("streaming.engine.warmth.time_passes", lambda *_: passes)


@pytest.fixture
def bench():
    with open_workbench(CONFIG) as bench:
        yield bench


def written(path, *channels, rate=16_000):
    longest = max(map(len, channels))
    padded = [np.pad(channel, (0, longest - len(channel))) for channel in channels]
    soundfile.write(path, np.stack(padded, axis=1), rate, "PCM_16")
    return path


def run(paths, mode, config=CONFIG):
    return list(transcribe(paths, config=config, mode=mode))


@pytest.mark.parametrize("finals", Finals)
def test_a_file_is_heard_as_a_stream(tmp_path, finals):
    path = written(tmp_path / "a.wav", rig.sound(HELLO + AGAIN))
    config = replace(CONFIG, stream=rig.with_finals(finals))
    [done] = run([path], "streaming", config)
    assert str(path) == done.audio
    assert "ab cd" == done.text
    assert ["ab", "cd"] == [final.text for final in done.utterances]
    assert ["ab", "cd"] == [word.word for word in done.words]
    assert [0, 1] == [final.utterance for final in done.utterances]
    assert 3.42 == pytest.approx(done.duration)
    assert not done.cut
    wanted = Pass.STITCHED if finals is Finals.STITCHED else Pass.FULL
    assert {wanted} == {final.made_by for final in done.utterances}


def test_a_file_is_decoded_in_one_pass(tmp_path):
    path = written(tmp_path / "a.wav", rig.sound(HELLO + AGAIN))
    [done] = run([path], "offline")
    assert "abcd" == done.text  # one word: the model never says a border
    assert (0.4, 2.72) == (done.words[0].start, done.words[0].end)
    assert 3.42 == pytest.approx(done.duration)
    assert not done.cut


def test_a_long_file_is_cut_in_silence_and_says_so(tmp_path):
    script = [("a", 300), (" ", 9_700)] * 8
    path = written(tmp_path / "long.wav", rig.sound(script))
    [done] = run([path], "offline")
    assert done.cut
    assert 8 == done.text.count("a")
    starts = [final.start for final in done.utterances]
    assert sorted(starts) == starts
    assert 80.0 == pytest.approx(done.duration)


@pytest.mark.parametrize("mode", ["streaming", "offline"])
def test_channels_are_merged_in_order_of_time(tmp_path, mode):
    left = rig.sound([(" ", 300), ("a", 400), (" ", 2_000), ("b", 400), (" ", 900)])
    right = rig.sound([(" ", 1_500), ("c", 400), (" ", 900)])
    path = written(tmp_path / "call.wav", left, right)
    # A pass over a whole channel hears "ab" as one word: no borders in this model.
    wanted = {
        "streaming": [(0, "a"), (1, "c"), (0, "b")],
        "offline": [(0, "ab"), (1, "c")],
    }
    [done] = run([path], mode)
    assert wanted[mode] == [(final.channel, final.text) for final in done.utterances]
    assert " ".join(text for _, text in wanted[mode]) == done.text


@pytest.mark.parametrize("mode", ["streaming", "offline"])
@pytest.mark.parametrize("rate", [4_000, 8_000, 44_100, 96_000])
def test_any_rate_is_heard(tmp_path, mode, rate):
    seconds = np.arange(int(rate * 2.4)) / rate
    samples = np.where((seconds > 0.4) & (seconds < 1.2), 0.2, 0.0).astype(np.float32)
    path = written(tmp_path / "rate.wav", samples, rate=rate)
    [done] = run([path], mode)
    assert "d" in done.text
    assert 2.4 == pytest.approx(done.duration, abs=1e-3)


@pytest.mark.parametrize("mode", ["streaming", "offline"])
def test_a_bad_file_is_named_once_the_others_are_done(tmp_path, mode):
    good = written(tmp_path / "good.wav", rig.sound(HELLO))
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no recording at all")
    absent = tmp_path / "absent.wav"
    told = transcribe([bad, good, absent], config=CONFIG, mode=mode)
    assert "ab" == next(told).text
    with pytest.raises(UnsupportedAudio) as caught:
        next(told)
    assert str(bad) in str(caught.value)
    assert f"cannot read {absent}: no such file" in str(caught.value)


@pytest.mark.parametrize("mode", ["streaming", "offline"])
def test_what_comes_after_a_bad_file_is_heard(bench, tmp_path, mode):
    good = written(tmp_path / "good.wav", rig.sound(HELLO))
    paths = [tmp_path / "absent.wav", good, tmp_path, good]
    done = list(transcripts(bench, paths, CONFIG.stream, mode))
    assert [False, True, False, True] == [
        not isinstance(each, UnsupportedAudio) for each in done
    ]
    assert "ab" == done[1].text == done[3].text


@pytest.mark.parametrize("mode", ["streaming", "offline"])
def test_an_empty_file_says_nothing(tmp_path, mode):
    path = written(tmp_path / "empty.wav", np.empty(0, np.float32))
    [done] = run([path], mode)
    assert ("", (), 0.0, ()) == (done.text, done.words, done.duration, done.utterances)


def test_six_channels_are_refused(tmp_path):
    path = written(tmp_path / "surround.wav", *[np.zeros(1_600, np.float32)] * 6)
    with pytest.raises(UnsupportedAudio, match="6 channels, at most 2"):
        run([path], "streaming")


@pytest.mark.parametrize("ahead", [0, 4, 1_000])
def test_the_text_does_not_depend_on_how_far_ahead_audio_is_given(bench, ahead):
    sound = rig.sound((HELLO + AGAIN) * 3)
    stream = rig.with_finals(Finals.FULL)
    [heard] = play(bench, [Take.of(sound, 16_000)], stream, ahead=ahead)
    assert ["ab", "cd"] * 3 == [final.text for final in heard.finals]
    assert {Pass.FULL} == {final.made_by for final in heard.finals}


def test_takes_are_told_in_their_order(bench):
    takes = [
        Take.of(rig.sound([(letter, 400), (" ", 300 * (9 - place))]), 16_000)
        for place, letter in enumerate(rig.LETTERS)
    ]
    told = list(play(bench, takes, CONFIG.stream))
    assert list(rig.LETTERS) == [heard.finals[0].text for heard in told]


def test_every_sample_is_accounted_for(bench):
    sound = rig.sound(HELLO + AGAIN)
    [heard] = play(bench, [Take.of(sound, 16_000)], CONFIG.stream)
    [totals] = heard.totals
    assert len(sound) == totals.received == totals.decoded + totals.gated
    assert 0 == totals.dropped
    assert isinstance(heard.events[-1][1], Finished)


def test_without_a_lead_a_partial_comes_with_the_last_piece_it_covers(bench):
    sound = rig.sound([("a", 900), ("-", 60), ("b", 900), (" ", 900)])
    [heard] = play(bench, [Take.of(sound, 16_000)], CONFIG.stream)
    partials = [(at, e) for at, e in heard.events if isinstance(e, Partial)]
    assert partials
    for at, partial in partials:
        assert 0 <= at / 16_000 - partial.end <= 0.02


def test_a_broken_model_ends_the_work(monkeypatch, tmp_path):
    class Broken(Amplitudes):
        fails_from = 1

    monkeypatch.setattr(workbench, "load_model", lambda *_: Broken())
    path = written(tmp_path / "a.wav", rig.sound(HELLO))
    for mode in ("streaming", "offline"):
        with pytest.raises(ModelError, match="out of memory"):
            run([path], mode)


def test_passes_keep_their_order_and_may_be_empty(bench):
    spans = [rig.sound([(letter, 320)]) for letter in "abc"]
    rows = list(bench.passes([spans[0], spans[0][:0], *spans[1:]]))
    assert [16, 0, 16, 16] == list(map(len, rows))
    assert [2, 3, 4] == [int(each[8].argmax()) for each in rows if len(each)]


def test_whole_recordings_keep_the_times_of_their_words(bench):
    sound = rig.sound([(" ", 400), ("a", 320), (" ", 280)])
    [whole] = one_passes(bench, [sound])
    [word] = whole.words
    assert Word("a", 0.4, 0.72, word.confidence) == word


@given(
    st.lists(st.tuples(st.sampled_from(" ab-"), st.integers(1, 4_000)), max_size=12),
    st.integers(16_000, 64_000),
)
def test_cuts_leave_no_piece_too_long(script, longest):
    samples = rig.sound(script)
    cuts = [0, *quiet_cuts(samples, 16_000, longest), len(samples)]
    assert sorted(set(cuts)) == cuts or len(samples) == 0
    assert all(b - a <= longest for a, b in pairwise(cuts))


def test_a_cut_lies_in_the_last_of_the_quietest_places():
    samples = rig.sound(
        [("a", 2_500), (" ", 400), ("b", 400), (" ", 400), ("c", 2_000)]
    )
    [cut] = quiet_cuts(samples, 16_000, 4 * 16_000)
    assert 3_300 <= cut / 16 <= 3_700


def test_a_piece_holds_a_second_at_least():
    with pytest.raises(ValueError, match="16000 samples or more, got 100"):
        quiet_cuts(np.zeros(10, np.float32), 16_000, 100)


def test_finals_that_no_model_would_give_up_are_full(bench):
    """Deadlines are far away, so `auto` takes the full pass however busy it is."""
    stream = replace(StreamConfig(), partials=False)
    [heard] = play(bench, [Take.of(rig.sound(HELLO), 16_000)], stream)
    finals = [event for _, event in heard.events if isinstance(event, Final)]
    assert [Pass.FULL] == [final.made_by for final in finals]
    assert not [event for _, event in heard.events if isinstance(event, Partial)]


def test_a_bad_file_costs_the_json_of_the_others_nothing(tmp_path):
    good = written(tmp_path / "good.wav", rig.sound(HELLO))
    told = transcribe([tmp_path / "absent.wav", good], config=CONFIG, mode="offline")
    pieces = laid_out(told, Format.JSON, several=True)
    assert ["ab"] == [done["text"] for done in json.loads(next(pieces))]
    with pytest.raises(UnsupportedAudio, match="no such file"):
        next(pieces)


@pytest.mark.parametrize("mode", ["streaming", "offline"])
@pytest.mark.parametrize("layout", ["wav", "aiff", "au", "mp3"])
def test_what_the_header_promises_and_the_file_lacks_is_told(tmp_path, mode, layout):
    sound = rig.sound(HELLO + AGAIN)
    path = tmp_path / f"a.{layout}"
    soundfile.write(path, sound, 16_000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    [done] = run([path], mode)
    seconds = len(sound) / 16_000
    assert seconds == pytest.approx(done.announced, abs=0.001)
    assert seconds / 2 == pytest.approx(done.duration, abs=0.2)
    assert done.announced - done.duration == done.missing


@pytest.mark.parametrize("layout", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_of_a_whole_file_nothing_is_missing(tmp_path, layout):
    path = tmp_path / f"a.{layout}"
    soundfile.write(path, rig.sound(HELLO + AGAIN), 16_000)
    [done] = run([path], "offline")
    assert 0.0 == done.missing


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_header_written_into_a_pipe_promises_nothing(tmp_path, size):
    path = written(tmp_path / "a.wav", rig.sound(HELLO))
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = size.to_bytes(4, "little")
    path.write_bytes(data)
    [done] = run([path], "offline")
    assert ("ab", 0.0) == (done.text, done.missing)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "the file is empty"), (b"words", "expected WAV, FLAC, Ogg, MP3")],
)
def test_what_is_no_recording_is_told_what_is_expected(tmp_path, content, why):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(UnsupportedAudio, match=rf"a\.wav: .*{why}"):
        read_samples(path, 16_000)
