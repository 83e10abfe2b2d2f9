"""Statistics of a stream end as those of the file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.config import GateConfig
from streaming.core.gate import Gate
from streaming.core.normalise import Normaliser, normalised
from streaming.core.turns import Closed, Opened
from streaming.events import EndReason
from streaming.models.vad import WebRtcVad

sizes = st.lists(st.integers(0, 500), min_size=1, max_size=20)


def audio(length, offset=0.0):
    rng = np.random.default_rng(length)
    return (rng.normal(offset, 0.1, length)).astype(np.float32)


def fed(samples, sizes):
    normaliser = Normaliser()
    at = 0
    for size in (*sizes, len(samples)):
        normaliser = normaliser.after(samples[at : at + size])
        at += size
    return normaliser


@settings(deadline=None)
@given(sizes, st.floats(-10, 10))
def test_the_end_equals_offline_statistics(sizes, offset):
    samples = audio(sum(sizes) + 1, offset)

    seen = fed(samples, sizes)

    exact = samples.astype(np.float64)
    assert pytest.approx(exact.mean(), rel=1e-12, abs=1e-12) == seen.mean
    assert pytest.approx(exact.var(), rel=1e-10, abs=1e-12) == seen.variance
    offline, streamed = normalised(samples), seen.apply(samples)
    np.testing.assert_allclose(streamed, offline, rtol=0, atol=1e-6)


@settings(deadline=None)
@given(st.integers(1, 2_000), st.floats(-1, 1))
def test_the_formula_is_that_of_the_feature_extractor(length, offset):
    samples = audio(length, offset)

    exact = samples.astype(np.float64)
    expected = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-7)
    np.testing.assert_allclose(normalised(samples), expected, rtol=1e-5, atol=1e-4)


def test_transformers_agrees():
    transformers = pytest.importorskip("transformers")
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    samples = audio(16_000, 0.02)

    expected = extractor(samples, sampling_rate=16_000, return_tensors="np")
    np.testing.assert_allclose(
        normalised(samples), expected.input_values[0], rtol=0, atol=1e-4
    )


def test_hours_of_samples_lose_nothing():
    part = audio(16_000, 0.5)
    seen = Normaliser()
    for _ in range(3_600):
        seen = seen.after(part)

    exact = part.astype(np.float64)
    assert pytest.approx(exact.var(), rel=1e-9) == seen.variance


def test_a_look_ahead_leaves_the_statistics_as_they_were():
    seen = Normaliser().after(audio(100))

    seen.after(audio(50, 3.0))

    assert Normaliser().after(audio(100)) == seen


def test_silence_stays_silence():
    silence = np.zeros(400, np.float32)

    assert silence.tobytes() == normalised(silence).tobytes()


def test_no_samples_are_no_trouble():
    nothing = audio(0)

    assert Normaliser() == Normaliser().after(nothing)
    assert not len(normalised(nothing))


def test_off_is_the_identity():
    samples = audio(100, 0.3)

    assert normalised(samples, on=False) is samples


@pytest.fixture(scope="module")
def real_utterances(speech_folder):
    """What the default gate makes of every fourth clip, 2 s and more."""
    lines = (speech_folder / "test" / "manifest.jsonl").read_text().splitlines()
    clips = [json.loads(line) for line in lines]
    found = []
    for clip in clips[::4]:
        if clip["corpus"] not in ("librispeech", "speechocean762"):
            continue
        samples, rate = soundfile.read(
            speech_folder / "test" / clip["audio"], dtype="float32"
        )
        gate = Gate(
            GateConfig(),
            rate,
            lambda: WebRtcVad(16_000, 2),
            search=0,
            max_samples=480_000,
            speculate=3_200,
        )
        events = gate.push(samples) + gate.flush(EndReason.FINISH)
        opened = [e.start for e in events if isinstance(e, Opened)]
        closed = [e.end for e in events if isinstance(e, Closed)]
        spans = zip(opened, closed, strict=True)
        found += [samples[a:b] for a, b in spans if b - a >= 2 * rate]
    return found


def test_early_statistics_of_real_speech_are_within_the_stated_bound(real_utterances):
    """The bound in the docstring: percentiles 5 and 95 after the first second."""
    ratios = [
        (Normaliser().after(u[:16_000]).variance / Normaliser().after(u).variance)
        ** 0.5
        for u in real_utterances
    ]

    low, middle, high = np.percentile(ratios, [5, 50, 95])
    assert len(ratios) > 40
    assert low > 0.55
    assert 1.0 < middle < 1.2
    assert high < 1.6


def test_the_whole_of_real_speech_has_unit_variance(real_utterances):
    for utterance in real_utterances:
        scaled = normalised(utterance).astype(np.float64)
        assert pytest.approx(1.0, rel=1e-3) == scaled.std()
        assert pytest.approx(0.0, abs=1e-4) == scaled.mean()
