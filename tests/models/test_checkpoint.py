"""A folder's own files say what it is; nothing is guessed, nothing is loaded."""

from __future__ import annotations

import pytest

from streaming.errors import ConfigError, ModelError
from streaming.models.checkpoint import read_checkpoint
from streaming.numeric.geometry import Geometry
from tests.checkpoints import LANGUAGES, LETTERS, write

BASE = {
    "model_type": "wav2vec2",
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "feat_extract_norm": "group",
}
BERT = {"model_type": "wav2vec2-bert", "num_adapter_layers": 1, "adapter_stride": 2}
MMS = BASE | {"feat_extract_norm": "layer", "adapter_attn_dim": 16}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "config.json", BASE)
    write(tmp_path / "vocab.json", LETTERS)
    return tmp_path


@pytest.mark.parametrize(
    ("config", "stride", "field"),
    [
        (BASE, 320, 400),
        (BASE | {"conv_kernel": [400, 4, 4], "conv_stride": [80, 2, 2]}, 320, 1120),
        (BASE | {"add_adapter": True, "num_adapter_layers": 2}, 1280, 1360),
        (BERT, 320, 560),
        (BERT | {"add_adapter": True}, 640, 880),
    ],
)
def test_geometry_follows_the_front_end(folder, config, stride, field):
    write(folder / "config.json", config)
    assert Geometry(16_000, stride, field) == read_checkpoint(folder).geometry


def test_sampling_rate_is_the_feature_extractors(folder):
    write(folder / "preprocessor_config.json", {"sampling_rate": 8_000})
    assert read_checkpoint(folder).geometry.sample_rate == 8_000


@pytest.mark.parametrize(
    ("name", "content", "normalise"),
    [
        ("preprocessor_config.json", {"do_normalize": False}, False),
        ("preprocessor_config.json", {"do_normalize": True}, True),
        ("preprocessor_config.json", {}, True),  # transformers' default
        (
            "processor_config.json",
            {"feature_extractor": {"do_normalize": False}},
            False,
        ),
    ],
)
def test_normalisation_is_the_feature_extractors(folder, name, content, normalise):
    write(folder / name, content)
    assert normalise is read_checkpoint(folder).normalise


def test_mel_features_take_samples_as_they_are(folder):
    write(folder / "config.json", BERT)
    assert not read_checkpoint(folder).normalise


@pytest.mark.parametrize(
    ("config", "pads"),
    [(BASE, False), (BASE | {"feat_extract_norm": "layer"}, True), (BERT, True)],
)
def test_only_a_group_norm_forbids_padding(folder, config, pads):
    write(folder / "config.json", config)
    assert pads is read_checkpoint(folder).pads


def test_other_architectures_are_refused_by_name(folder):
    write(folder / "config.json", {"model_type": "whisper"})
    with pytest.raises(ModelError, match=r"'whisper', served are wav2vec2, wav2vec2-b"):
        read_checkpoint(folder)


def test_a_folder_without_a_config_is_no_checkpoint(tmp_path):
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{", "\xff"])
def test_a_broken_file_is_named(folder, text):
    (folder / "preprocessor_config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=r"preprocessor_config\.json"):
        read_checkpoint(folder)


def test_a_config_without_convolutions_is_refused(folder):
    write(folder / "config.json", {"model_type": "wav2vec2"})
    with pytest.raises(ModelError, match="no geometry"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("card", "language"),
    [
        ("---\nlanguage: de\nlicense: mit\n---\n", "de"),
        ("---\nlanguage:\n- pt-BR\n- en\n---\n", "pt-BR"),
        ("---\nlicense: mit\n---\nlanguage: de\n", "und"),
        ("no front matter", "und"),
    ],
)
def test_language_is_the_model_cards(folder, card, language):
    (folder / "README.md").write_text(card)
    assert language == read_checkpoint(folder).language


def test_our_metadata_comes_first(folder):
    (folder / "README.md").write_text("---\nlanguage: de\n---\n")
    write(
        folder / "wavestitch.json",
        {"name": "ours", "language": "en", "temperature": 1.5},
    )
    found = read_checkpoint(folder)
    assert ("ours", "en", 1.5) == (found.name, found.language, found.temperature)


@pytest.mark.parametrize("bias", [101, "1", None, True])
def test_a_bias_is_a_number_of_nats(folder, bias):
    write(folder / "wavestitch.json", {"bias": bias})
    with pytest.raises(ModelError, match="bias must be a number of nats"):
        read_checkpoint(folder)


@pytest.mark.parametrize("temperature", [0, -1, "1", None])
def test_a_temperature_is_above_zero(folder, temperature):
    write(folder / "wavestitch.json", {"temperature": temperature})
    with pytest.raises(ModelError, match="temperature must be above 0"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "graphs", [{"int8": "../m.onnx"}, {"int8": "/m.onnx"}, {"int4": "m.onnx"}, ["m"]]
)
def test_a_graph_lies_in_its_folder(folder, graphs):
    write(folder / "wavestitch.json", {"onnx": graphs})
    with pytest.raises(ModelError, match="onnx must map"):
        read_checkpoint(folder)


def test_a_graph_that_is_not_there_is_not_offered(folder):
    write(folder / "wavestitch.json", {"onnx": {"int8": "a.onnx", "fp32": "b.onnx"}})
    (folder / "b.onnx").touch()
    assert {"fp32": folder / "b.onnx"} == read_checkpoint(folder).onnx


class TestLanguageAdapters:
    @pytest.fixture
    def mms(self, folder):
        write(folder / "config.json", MMS)
        write(folder / "vocab.json", LANGUAGES)
        for language in LANGUAGES:
            (folder / f"adapter.{language}.safetensors").touch()
        return folder

    def test_english_unless_asked(self, mms):
        assert read_checkpoint(mms).adapter == "eng"

    def test_the_tokenizers_language_is_the_default(self, mms):
        write(mms / "tokenizer_config.json", {"target_lang": "deu"})
        assert read_checkpoint(mms).adapter == "deu"

    def test_the_wish_picks_adapter_and_vocabulary(self, mms):
        found = read_checkpoint(mms, language="deu")
        assert ("deu", "deu") == (found.adapter, found.language)
        assert tuple(LANGUAGES["deu"]) == found.vocabulary.labels

    def test_an_unknown_language_lists_those_there_are(self, mms):
        with pytest.raises(ConfigError, match=r"'xyz' has no adapter.*deu, eng"):
            read_checkpoint(mms, language="xyz")

    def test_adapters_are_not_the_weights(self, mms):
        (mms / "model.safetensors").touch()
        assert (mms / "model.safetensors",) == read_checkpoint(mms).weights

    def test_without_adapter_files_the_weights_hold_the_language(self, folder):
        write(folder / "config.json", MMS)
        assert read_checkpoint(folder, language="de").adapter is None
