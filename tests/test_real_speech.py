"""The whole house on real speech, with the model that ships.

The recording that the project carries runs everywhere; people's voices run where
the corpora are.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import soxr

from streaming.cli.demo import RECORDING
from streaming.config import AudioFormat, Config, DecoderConfig, Encoding, Finals
from streaming.core.decoder import Decoder
from streaming.events import Final, Partial, Pass
from streaming.numeric.wer import edits
from streaming.tools.corpus import read_manifest
from streaming.tools.playing import Take, play
from streaming.tools.workbench import open_workbench

DEMO, _ = soundfile.read(RECORDING, dtype="float32")
TRUTH = [
    row["text"]
    for row in json.loads(RECORDING.with_suffix(".json").read_text())["utterances"]
]
STREAM = Config().stream


@pytest.fixture(scope="module")
def bench():
    with open_workbench(Config()) as bench:
        yield bench


def heard(bench, samples, config=STREAM, rate=16_000, **options):
    (take,) = play(bench, [Take.of(samples, rate)], config, **options)
    assert take.error is None
    return take


def finals_of(mode):
    return replace(STREAM, decoder=DecoderConfig(mode))


def wrong(expected, texts):
    """Word errors, and how many words there were."""
    return edits(expected.split(), " ".join(texts).split()), len(expected.split())


def test_finals_equal_one_pass_over_the_same_audio(bench):
    take = heard(bench, DEMO)
    spans = [DEMO[round(f.start * 16_000) : round(f.end * 16_000)] for f in take.finals]

    offline = []
    for span, rows in zip(spans, bench.passes(spans), strict=True):
        facts = bench.facts
        decoder = Decoder(facts.vocabulary, facts.geometry, start=0)
        offline.append(decoder.full(rows, len(span)).text)
    assert [f.text for f in take.finals] == offline
    assert {Pass.FULL} == {f.made_by for f in take.finals}


def test_neither_pieces_nor_pace_change_the_text(bench):
    plain = heard(bench, DEMO).finals
    data = np.rint(DEMO * 32_768).astype("<i2").tobytes()
    for size in (333, 6_400, len(data)):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        (other,) = play(bench, [Take(AudioFormat(), pieces)], STREAM, ahead=50)
        assert [f.text for f in plain] == [f.text for f in other.finals]


def test_stitched_finals_extend_what_was_shown_as_stable(bench):
    take = heard(bench, DEMO, finals_of(Finals.STITCHED))
    finals = {f.utterance: f for _, f in take.events if isinstance(f, Final)}
    partials = [p for _, p in take.events if isinstance(p, Partial)]

    assert len(finals) == len(TRUTH)
    assert len(partials) > 2 * len(TRUTH)
    for partial in partials:
        final = finals[partial.utterance]
        assert final.text.startswith(partial.text[: partial.stable])


@pytest.mark.parametrize("cut", range(17_000, 56_000, 3_111))
def test_wherever_the_audio_ends_the_tail_is_decoded(bench, cut):
    take = heard(bench, DEMO[:cut])
    (totals,) = take.totals

    assert totals.received == cut == totals.decoded + totals.gated
    assert take.finals[-1].end == pytest.approx(cut / 16_000, abs=1e-4)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_are_heard_as_well(bench, rate):
    other = soxr.resample(DEMO, 16_000, rate)
    errors, words = wrong(
        " ".join(TRUTH), [f.text for f in heard(bench, other, rate=rate).finals]
    )

    assert errors <= 0.25 * words


def test_a_telephone_call_in_mu_law_is_heard(bench):
    band = soxr.resample(DEMO, 16_000, 8_000)
    magnitude = np.log1p(255 * np.abs(band)) / np.log(256)
    code = (np.where(band < 0, 0, 0x80) | np.rint(magnitude * 127).astype(int)) ^ 0x7F
    audio = AudioFormat(Encoding.MULAW, 8_000)
    data = code.astype(np.uint8).tobytes()
    (take,) = play(bench, [Take(audio, [data])], STREAM)
    errors, words = wrong(" ".join(TRUTH), [f.text for f in take.finals])

    assert take.error is None
    assert errors <= 0.3 * words


def test_silence_and_hum_say_nothing(bench):
    time = np.arange(16_000 * 6) / 16_000
    hum = 0.01 * np.sin(2 * np.pi * 50 * time)

    assert [] == [f.text for f in heard(bench, np.zeros(96_000)).finals if f.text]
    assert [] == [f.text for f in heard(bench, hum).finals if f.text]


@pytest.mark.parametrize(
    "bar",
    [
        0.18,
        pytest.param(
            0.10,
            marks=pytest.mark.xfail(
                reason="what the model is meant to reach; drop the other bar then"
            ),
        ),
    ],
)
def test_digits_of_a_voice_that_was_not_trained_on(bench, speech_folder, bar):
    rows = read_manifest(speech_folder / "test" / "manifest.jsonl")
    digits = [row for row in rows if row.corpus == "fsdd"]
    dice = np.random.default_rng(0)
    errors = words = 0
    for group in dice.permutation(len(digits))[:96].reshape(12, 8):
        pieces = [np.zeros(8_000)]
        for place in group:
            speech, _ = soundfile.read(digits[place].path)
            pieces += [speech, np.zeros(int(dice.uniform(0.1, 0.4) * 16_000))]
        take = heard(bench, np.concatenate([*pieces, np.zeros(8_000)]))
        said = " ".join(digits[place].text for place in group)
        found = wrong(said, [f.text for f in take.finals])
        errors, words = errors + found[0], words + found[1]

    assert errors <= bar * words


def test_noise_says_little(bench, speech_folder):
    rows = read_manifest(speech_folder / "noise" / "manifest.jsonl")
    words = seconds = 0.0
    for row in (row for row in rows if row.kind == "noise"):
        samples, rate = soundfile.read(row.path, dtype="float32")
        take = heard(bench, samples, rate=rate)
        (totals,) = take.totals
        assert totals.received == totals.decoded + totals.gated == len(samples)
        words += sum(len(f.text.split()) for f in take.finals)
        seconds += len(samples) / rate

    assert words / seconds < 0.5  # people say two to three a second
