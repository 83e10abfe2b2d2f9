"""The features are transformers' own, whatever is beside them in the batch."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from streaming.models.mel import MelFeatures  # noqa: E402
from streaming.numeric.geometry import Geometry  # noqa: E402
from tests.checkpoints import noise  # noqa: E402

GEOMETRY = Geometry(16_000, 320, 560)


@pytest.fixture(scope="module")
def extractor():
    return transformers.SeamlessM4TFeatureExtractor(padding_value=1)


def features(extractor, *windows):
    padded = [GEOMETRY.padded(len(w)) for w in windows]
    samples = np.zeros((len(windows), max(padded)), np.float32)
    for row, window in zip(samples, windows, strict=True):
        row[: len(window)] = window
    lengths = torch.tensor([len(w) for w in windows])
    mel = MelFeatures(extractor, torch.device("cpu"))
    return mel(torch.from_numpy(samples), lengths).numpy()


def reference(extractor, window):
    found = extractor(window, sampling_rate=16_000, return_tensors="np")
    return found["input_features"][0][found["attention_mask"][0] == 1]


@pytest.mark.parametrize("samples", [1_200, 8_000, 16_000, 31_999, 32_001])
def test_every_row_of_the_extractor_is_the_same(extractor, samples):
    window = 0.1 * noise(samples)
    expected = reference(extractor, window)
    found = features(extractor, window)[0]
    assert GEOMETRY.steps(samples) == len(found)
    np.testing.assert_allclose(found[: len(expected)], expected, atol=2e-4)


def test_real_speech_gives_the_extractors_features(extractor, speech_folder):
    import soundfile  # noqa: PLC0415

    path = next((speech_folder / "test" / "librispeech").rglob("*.flac"))
    window, _ = soundfile.read(path, dtype="float32", frames=48_000)
    expected = reference(extractor, window)
    found = features(extractor, window)[0]
    np.testing.assert_allclose(found[: len(expected)], expected, atol=2e-4)


def test_neighbours_do_not_matter(extractor):
    windows = [0.1 * noise(9_600), 0.9 * noise(32_000, 1), 0.01 * noise(1_000, 2)]
    together = features(extractor, *windows)
    for row, window in zip(together, windows, strict=True):
        alone = features(extractor, window)[0]
        np.testing.assert_allclose(row[: len(alone)], alone, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 160, 400, 559])
def test_a_window_too_short_for_statistics_is_finite(extractor, samples):
    assert np.isfinite(features(extractor, 0.1 * noise(samples))).all()


def test_silence_is_finite(extractor):
    assert np.isfinite(features(extractor, np.zeros(16_000, np.float32))).all()
