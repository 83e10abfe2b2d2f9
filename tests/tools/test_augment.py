"""Distortions keep the length, stay finite and do what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.tools.augment import Augmenter, change_speed, cut_soft_ends
from streaming.tools.recipe import Augmentation

ALL = Augmentation(
    noise_chance=1,
    room_chance=1,
    telephone_chance=1,
    tilt_chance=1,
    low_cut_chance=1,
    dynamics_chance=1,
    coding_chance=1,
)
NONE = Augmentation(
    noise_chance=0,
    room_chance=0,
    telephone_chance=0,
    tilt_chance=0,
    low_cut_chance=0,
    dynamics_chance=0,
    coding_chance=0,
)


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
    only = replace(NONE, telephone_chance=1)
    kept, lost = (
        augmenter(only)(tone(1_000)),
        augmenter(only)(tone(1_000) + tone(6_000)),
    )

    spectrum = np.abs(np.fft.rfft(lost))
    assert spectrum[3_000] < 0.05 * spectrum[500]
    assert np.abs(kept).max() == pytest.approx(1.0, abs=0.1)


def test_a_low_cut_halves_the_power_at_its_corner_and_spares_what_is_far_above():
    only = replace(NONE, low_cut_chance=1, low_cut_hz=(400, 400))
    power = {
        hertz: (augmenter(only)(tone(hertz)) ** 2).mean() / (tone(hertz) ** 2).mean()
        for hertz in (100, 400, 4_000)
    }

    assert power[400] == pytest.approx(0.5, abs=0.03)
    assert power[100] < 0.1
    assert power[4_000] > 0.97


@pytest.mark.parametrize("ratio", [0.7, 1.0, 2.0])
def test_what_is_soft_is_moved_by_as_many_decibels_again(ratio):
    only = replace(NONE, dynamics_chance=1, dynamics=(ratio, ratio))
    soft, loud = 0.1 * tone(440), tone(440)  # 20 dB
    heard = augmenter(only)(np.concatenate((loud, soft, loud)))

    power = (heard.reshape(3, -1)[:, 1_000:-1_000] ** 2).mean(axis=1)
    assert 20 * ratio == pytest.approx(10 * np.log10(power[0] / power[1]), abs=0.3)
    assert 0 == pytest.approx(10 * np.log10(power[0] / power[2]), abs=0.1)


def test_noise_comes_at_the_asked_ratio():
    only = replace(NONE, noise_chance=1, snr_db=(10, 10))
    samples = tone(440)
    noise = augmenter(only)(samples) - samples

    assert 10 * np.log10((samples**2).mean() / (noise**2).mean()) == pytest.approx(10)


def test_the_noise_of_a_coder_rises_and_falls_with_the_speech():
    only = replace(NONE, coding_chance=1, coding_db=(12, 12))
    samples = np.concatenate((tone(440, 2.0), np.zeros(8_000, np.float32)))
    noise = augmenter(only)(samples) - samples

    ratio = (samples**2).sum() / (noise**2).sum()
    assert 12 == pytest.approx(10 * np.log10(ratio), abs=0.3)
    assert not noise[-8_000:].any()


def test_speed_moves_length_and_pitch_together():
    fast = change_speed(tone(440, 1.0), 1.25)

    assert len(fast) == 12_800
    assert np.abs(np.fft.rfft(fast)).argmax() * 16_000 / 12_800 == pytest.approx(550)


def test_soft_ends_are_cut_and_nothing_within():
    loud, soft = tone(440, 0.1), tone(440, 0.06) * np.float32(0.05)
    samples = np.concatenate((soft, loud, soft, loud, soft))

    kept = cut_soft_ends(samples, 20.0)

    assert (np.concatenate((loud, soft, loud)) == kept).all()
    assert (samples == cut_soft_ends(samples, 40.0)).all()
    assert 100 == len(cut_soft_ends(samples[:100], 10.0))
