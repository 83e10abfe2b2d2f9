"""Distortions keep the length, stay finite and do what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.tools.augment import Augmenter, change_speed
from streaming.tools.recipe import Augmentation

ALL = Augmentation(noise_chance=1, room_chance=1, telephone_chance=1, tilt_chance=1)


def tone(hertz, seconds=0.5):
    return np.sin(2 * np.pi * hertz * np.arange(int(16_000 * seconds)) / 16_000).astype(
        np.float32
    )


def augmenter(chances, seed=0):
    dice = np.random.default_rng(seed)
    noise = dice.normal(size=16_000).astype(np.float32)
    room = np.exp(-np.arange(2_000) / 300).astype(np.float32)
    return Augmenter(chances, [noise], [room], dice)


@given(st.integers(1, 20_000), st.integers(0, 1_000))
def test_any_length_comes_out_finite_and_as_long(count, seed):
    samples = np.random.default_rng(seed).normal(size=count).astype(np.float32)
    out = augmenter(ALL, seed)(samples)

    assert out.shape == samples.shape
    assert out.dtype == np.float32
    assert np.isfinite(out).all()


def test_strength_zero_changes_nothing():
    samples = tone(440)

    assert (augmenter(ALL)(samples, strength=0.0) == samples).all()


def test_the_telephone_takes_the_upper_band_away():
    only = Augmentation(
        noise_chance=0, room_chance=0, telephone_chance=1, tilt_chance=0
    )
    kept, lost = (
        augmenter(only)(tone(1_000)),
        augmenter(only)(tone(1_000) + tone(6_000)),
    )

    spectrum = np.abs(np.fft.rfft(lost))
    assert spectrum[3_000] < 0.05 * spectrum[500]
    assert np.abs(kept).max() == pytest.approx(1.0, abs=0.1)


def test_noise_comes_at_the_asked_ratio():
    only = Augmentation(
        noise_chance=1,
        snr_db=(10, 10),
        room_chance=0,
        telephone_chance=0,
        tilt_chance=0,
    )
    samples = tone(440)
    noise = augmenter(only)(samples) - samples

    assert 10 * np.log10((samples**2).mean() / (noise**2).mean()) == pytest.approx(10)


def test_speed_moves_length_and_pitch_together():
    fast = change_speed(tone(440, 1.0), 1.25)

    assert len(fast) == 12_800
    assert np.abs(np.fft.rfft(fast)).argmax() * 16_000 / 12_800 == pytest.approx(550)
