"""The test sets that are made, not read."""

import numpy as np
import pytest

from benchmarks.samples import RATE, SETS, load

DIGITS = set("zero one two three four five six seven eight nine".split())


def test_the_demo_is_its_utterances(tmp_path):
    samples = load(["demo (synthetic)"], tmp_path)
    assert "zero four one seven two nine five" == samples[0].text
    assert 6 == len(samples)
    for sample in samples:
        loud = np.flatnonzero(np.abs(sample.samples) > 0.02)
        assert 0.45 * RATE < loud[0] < 0.7 * RATE
        assert loud[-1] < len(sample.samples) - 0.6 * RATE


def test_digit_strings_are_digits_of_one_unseen_speaker(speech_folder):
    once, again = (load(["fsdd strings"], speech_folder, 5) for _ in "12")
    for sample, same in zip(once, again, strict=True):
        assert np.array_equal(sample.samples, same.samples)
        assert 3 <= len(sample.text.split()) <= 10
        assert set(sample.text.split()) <= DIGITS


@pytest.mark.parametrize("corpus", sorted(SETS))
def test_every_set_has_text_and_speech(speech_folder, corpus):
    found = load([corpus], speech_folder, 3)
    assert 3 <= len(found)
    for sample in found:
        assert corpus == sample.corpus
        assert sample.text == sample.text.lower() != ""
        assert 1.3 < sample.seconds < 40
        assert np.abs(sample.samples).max() > 0.01
