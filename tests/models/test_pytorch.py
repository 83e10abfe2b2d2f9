"""Torch serves every architecture as transformers computes it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from streaming.config import ModelConfig  # noqa: E402
from streaming.errors import ConfigError, ModelError  # noqa: E402
from streaming.models.loading import load_model  # noqa: E402
from streaming.models.mel import MelFeatures  # noqa: E402
from tests.checkpoints import LANGUAGES, SHAPES, checkpoint, noise  # noqa: E402

KINDS = list(SHAPES)
PADDING = [kind for kind in KINDS if kind != "base"]


def load(kind, **settings):
    return load_model(
        ModelConfig(name=str(checkpoint(kind)), backend="torch", **settings)
    )


@pytest.fixture(scope="module")
def models():
    return {kind: load(kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def model(request, models):
    return models[request.param]


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 1_600, 32_000, 32_001])
def test_a_window_yields_a_row_for_each_stride(model, samples):
    rows = model.forward([noise(samples)])[0]
    steps = -(-samples // model.geometry.stride)
    assert (steps, len(model.vocabulary)) == rows.shape
    assert rows.dtype == np.float32


@pytest.mark.parametrize("kind", ["base", "xlsr", "bundled"])
def test_the_logits_are_transformers(kind, models):
    model = models[kind]
    window = noise(20_000)
    padded = np.pad(window, (0, model.geometry.padded(20_000) - 20_000))
    reference = transformers.Wav2Vec2ForCTC.from_pretrained(checkpoint(kind)).eval()
    with torch.inference_mode():
        expected = reference(torch.from_numpy(padded)[None]).logits[0].numpy()
    np.testing.assert_allclose(model.forward([window])[0], expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "bert-adapter"])
def test_w2v_bert_is_transformers_model_of_the_extractors_features(kind, models):
    model = models[kind]
    window = 0.1 * noise(20_000)
    padded = np.pad(window, (0, model.geometry.padded(20_000) - 20_000))
    extractor = transformers.SeamlessM4TFeatureExtractor(padding_value=1)
    # That these are the extractor's numbers is shown in test_mel.py.
    features = MelFeatures(extractor, torch.device("cpu"))(
        torch.from_numpy(padded)[None], torch.tensor([20_000])
    )
    reference = transformers.Wav2Vec2BertForCTC.from_pretrained(checkpoint(kind)).eval()
    with torch.inference_mode():
        expected = reference(features).logits[0].numpy()
    np.testing.assert_allclose(model.forward([window])[0], expected, atol=1e-4)


@pytest.mark.parametrize("kind", PADDING)
def test_neighbours_do_not_change_a_window(kind, models):
    model = models[kind]
    windows = [
        noise(n, i, gain=1 + i) for i, n in enumerate((30_720, 4_000, 321, 16_000))
    ]
    for window, row in zip(windows, model.forward(windows), strict=True):
        alone = model.forward([window])[0]
        np.testing.assert_allclose(row, alone, atol=1e-4)
        assert alone.argmax(-1).tolist() == row.argmax(-1).tolist()


def test_a_group_norm_takes_equal_lengths_only(models):
    model = models["base"]
    assert not model.pads
    with pytest.raises(ModelError, match="equally long, got 1600, 3200 samples"):
        model.forward([noise(1_600), noise(3_200)])
    windows = [noise(16_000, i, gain=1 + i) for i in range(3)]
    for window, row in zip(windows, model.forward(windows), strict=True):
        np.testing.assert_allclose(row, model.forward([window])[0], atol=1e-4)


def test_batches_gain_nothing_on_a_cpu(model):
    assert ("cpu", 1) == (model.device, model.max_batch)


@pytest.mark.parametrize("language", LANGUAGES)
def test_mms_speaks_the_language_asked_for(language):
    model = load("mms", language=language)
    reference = transformers.Wav2Vec2ForCTC.from_pretrained(
        checkpoint("mms"), target_lang=language, ignore_mismatched_sizes=True
    ).eval()
    window = noise(16_000)
    padded = np.pad(window, (0, model.geometry.padded(16_000) - 16_000))
    with torch.inference_mode():
        expected = reference(torch.from_numpy(padded)[None]).logits[0].numpy()
    np.testing.assert_allclose(model.forward([window])[0], expected, atol=1e-4)
    assert tuple(LANGUAGES[language]) == model.vocabulary.labels
    assert language == model.language


def test_bf16_is_close_to_fp32(models):
    window = noise(16_000)
    expected = models["xlsr"].forward([window])[0]
    found = load("xlsr", precision="bf16").forward([window])[0]
    assert found.dtype == np.float32
    error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    assert 0 < error < 0.1


def test_clones_share_the_weights_and_nothing_else(model):
    clone = model.clone()
    window = noise(8_000)
    expected = model.forward([window])[0]
    np.testing.assert_array_equal(clone.forward([window])[0], expected)
    ours, theirs = model._module, clone._module
    assert ours is not theirs
    assert [p.data_ptr() for p in ours.parameters()] == [
        p.data_ptr() for p in theirs.parameters()
    ]
    clone.close()
    with pytest.raises(ModelError, match="was closed"):
        clone.forward([window])
    np.testing.assert_array_equal(model.forward([window])[0], expected)


@pytest.mark.parametrize("window", [noise(0), noise(320)[None]])
def test_a_window_is_a_row_of_samples(models, window):
    with pytest.raises(ModelError, match="a window must be"):
        models["xlsr"].forward([window])


class TestWeights:
    @pytest.fixture
    def folder(self, tmp_path):
        shutil.copytree(checkpoint("xlsr"), tmp_path, dirs_exist_ok=True)
        return tmp_path

    @pytest.fixture
    def pickled(self, folder):
        from safetensors.torch import load_file  # noqa: PLC0415

        state = load_file(folder / "model.safetensors")
        torch.save(state, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        return folder

    def test_a_pickle_is_refused(self, pickled):
        with pytest.raises(ModelError, match=r"pytorch_model\.bin.*trust_pickle=True"):
            load_model(ModelConfig(name=str(pickled)))

    def test_a_trusted_pickle_is_read(self, pickled, models):
        model = load_model(ModelConfig(name=str(pickled), trust_pickle=True))
        window = noise(3_200)
        np.testing.assert_array_equal(
            model.forward([window])[0], models["xlsr"].forward([window])[0]
        )

    def test_no_weights_at_all_is_an_error(self, folder):
        (folder / "model.safetensors").unlink()
        with pytest.raises(ModelError, match=r"has no weights: expected \.safetensors"):
            load_model(ModelConfig(name=str(folder)))

    def test_missing_weights_are_not_made_up(self, folder):
        from safetensors.torch import load_file, save_file  # noqa: PLC0415

        state = load_file(folder / "model.safetensors")
        del state["lm_head.weight"]
        save_file(state, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ModelError, match=r"1 weights are missing.*lm_head\.weight"):
            load_model(ModelConfig(name=str(folder)))

    def test_a_broken_file_is_an_error(self, folder):
        (folder / "model.safetensors").write_bytes(b"\x00" * 64)
        with pytest.raises(ModelError, match="cannot be loaded"):
            load_model(ModelConfig(name=str(folder)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "int8"}, "needs an ONNX graph"),
        ({"precision": "fp16", "device": "cpu"}, "slower than fp32 on a CPU"),
        ({"device": "tpu"}, "device must be cpu, cuda"),
        ({"device": "cuda:one"}, "device must be cpu, cuda"),
        ({"device": "meta"}, "device must be cpu, cuda"),
        ({"device": "cuda:99"}, "torch sees"),
    ],
)
def test_what_cannot_be_had_is_said(settings, message):
    with pytest.raises(ConfigError, match=message):
        load("xlsr", **settings)
