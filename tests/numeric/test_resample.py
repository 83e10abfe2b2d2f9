"""Resampling: no border shows, no sample is lost, and speech stays speech."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.numeric.resample import Resampler, resampled_length

RATES = [8_000, 8_001, 11_025, 12_345, 22_050, 24_000, 32_000, 44_100, 47_999, 48_000]
rates = st.sampled_from(RATES) | st.integers(8_000, 48_000)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal(samples) * 0.1
    return drawn.astype(np.float32)


def resample(resampler: Resampler, pieces: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([*map(resampler.push, pieces), resampler.drain()])


@given(rates, st.integers(0, 9_000), st.lists(st.integers(0, 9_000), max_size=8))
@settings(max_examples=60, deadline=None)
def test_chunking_never_matters(rate, length, edges):
    signal = noise(length)
    expected = resample(Resampler(rate, 16_000), [signal])
    pieces = np.split(signal, sorted(min(edge, length) for edge in edges))
    got = resample(Resampler(rate, 16_000), pieces)
    np.testing.assert_array_equal(expected, got)
    assert resampled_length(length, rate, 16_000) == len(got)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("piece", [1, 7, 160])
def test_equals_an_exact_resampler_where_speech_is(rate, piece):
    """Up to 0.85 of the lower Nyquist frequency; soxr at its best is the measure."""
    lower = min(rate, 16_000)
    spectrum = np.fft.rfft(noise(6_007))
    spectrum[np.fft.rfftfreq(6_007, 1 / rate) > 0.425 * lower] = 0
    signal = (np.fft.irfft(spectrum, 6_007) * np.hanning(6_007)).astype(np.float32)
    pieces = [signal[i : i + piece] for i in range(0, len(signal), piece)]
    got = resample(Resampler(rate, 16_000), pieces)
    exact = soxr.resample(signal, rate, 16_000, quality="VHQ")
    np.testing.assert_allclose(got, exact, atol=1e-3 * np.abs(exact).max())


def level(signal: np.ndarray) -> float:
    """Decibels of the middle of a signal, of a full sine."""
    middle = signal[len(signal) // 4 : -len(signal) // 4]
    return 10 * np.log10(2 * np.mean(np.square(middle, dtype=np.float64)))


def tone(hertz: float, rate: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(rate) / rate).astype(np.float32)


@pytest.mark.parametrize("rate", [22_050, 24_000, 32_000, 44_100, 48_000, 96_000])
def test_what_the_model_cannot_hear_does_not_come_back_as_speech(rate):
    for hertz in np.linspace(1.12 * 8_000, rate / 2, 12):
        got = resample(Resampler(rate, 16_000), [tone(hertz, rate)])
        assert level(got) < -75


@pytest.mark.parametrize("rate", [8_000, 11_025, 12_000])
def test_a_low_rate_gains_no_mirror_image(rate):
    for hertz in np.linspace(100, 0.44 * rate, 12):
        got = resample(Resampler(rate, 16_000), [tone(hertz, rate)])
        assert abs(level(got)) < 0.1
        middle = got[4_000:12_000] * np.hanning(8_000)
        spectrum = np.abs(np.fft.rfft(middle)) / 2_000
        above = np.fft.rfftfreq(8_000, 1 / 16_000) > 0.56 * rate
        assert 20 * np.log10(spectrum[above].max()) < -75


@pytest.mark.parametrize("rate", [*RATES, 16_000, 25_600])
def test_every_length_follows_the_rule(rate):
    resampler = Resampler(rate, 16_000)
    for length in range(40):
        exact = length * 16_000 / rate
        got = resample(resampler, [noise(length)])
        assert np.floor(exact + 0.5) == len(got)


@pytest.mark.parametrize(
    ("samples", "source", "target", "expected"),
    [
        (0, 8_000, 16_000, 0),
        (1, 8_000, 16_000, 2),
        (1, 48_000, 16_000, 0),
        (2, 48_000, 16_000, 1),
        (1, 32_000, 16_000, 1),  # a half goes up
        (3, 32_000, 16_000, 2),
        (24 * 3_600 * 44_100 + 1, 44_100, 16_000, 24 * 3_600 * 16_000),
    ],
)
def test_the_rule(samples, source, target, expected):
    assert expected == resampled_length(samples, source, target)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_after_a_drain_it_begins_afresh(rate):
    used = Resampler(rate, 16_000)
    resample(used, [noise(5_000, seed=1)])
    signal = noise(5_000, seed=2)
    expected = resample(Resampler(rate, 16_000), [signal])
    np.testing.assert_array_equal(expected, resample(used, [signal]))
    assert len(used.drain()) == 0


def test_equal_rates_pass_through():
    signal = noise(1_000)
    resampler = Resampler(16_000, 16_000)
    np.testing.assert_array_equal(signal, resampler.push(signal))
    assert len(resampler.drain()) == 0


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_click_stays_where_it_was(rate):
    signal = np.zeros(rate, np.float32)
    signal[rate // 2] = 0.5
    got = resample(Resampler(rate, 16_000), np.split(signal, 10))
    assert abs(int(np.abs(got).argmax()) - 8_000) <= 1


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 47_999, 48_000])
def test_hardly_anything_is_held_back(rate):
    resampler = Resampler(rate, 16_000)
    pushed, ready, held = 0, 0, []
    for _ in range(200):
        piece = noise(rate // 100)
        pushed += len(piece)
        ready += len(resampler.push(piece))
        held.append(pushed / rate - ready / 16_000)
    assert max(held) <= 0.0031
    assert max(held) <= resampler.delay / rate + 1 / 16_000


def test_a_strided_channel_is_taken(speech_folder):
    path = min((speech_folder / "test" / "librispeech").glob("*.flac"))
    speech, _ = soundfile.read(path, dtype="float32", frames=16_000)
    stereo = np.stack([speech, -speech], axis=1)
    left = resample(Resampler(16_000, 8_000), [stereo[:, 0]])
    right = resample(Resampler(16_000, 8_000), [stereo[:, 1]])
    np.testing.assert_array_equal(left, -right)
    back = resample(Resampler(8_000, 16_000), [left])
    # Half the band is gone, the speech is not.
    assert np.corrcoef(speech, back)[0, 1] > 0.9
