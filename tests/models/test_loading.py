"""From a name to a model: which backend runs, and what is refused."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")

from streaming.config import ModelConfig
from streaming.errors import ConfigError, ModelError
from streaming.models import loading
from streaming.models.loading import describe, load_model
from streaming.models.onnx import OnnxModel
from streaming.models.pytorch import PytorchModel
from streaming.numeric.geometry import Geometry
from tests.checkpoints import LANGUAGES, checkpoint, exported, write


@pytest.mark.parametrize(
    ("settings", "backend", "precision"),
    [
        ({}, OnnxModel, "int8"),
        ({"precision": "fp32"}, OnnxModel, "fp32"),
        ({"precision": "bf16"}, PytorchModel, "bfloat16"),
        ({"backend": "torch"}, PytorchModel, "float32"),
        ({"backend": "onnx", "precision": "int8"}, OnnxModel, "int8"),
    ],
)
def test_the_graph_runs_where_it_can(settings, backend, precision):
    model = load_model(ModelConfig(name=str(exported("bundled")), **settings))
    assert backend is type(model)
    assert precision == model.precision


def test_a_checkpoint_without_a_graph_runs_on_torch():
    assert type(load_model(ModelConfig(name=str(checkpoint("xlsr"))))) is PytorchModel


def test_torch_runs_a_precision_that_no_graph_has(tmp_path):
    shutil.copytree(checkpoint("xlsr"), tmp_path, dirs_exist_ok=True)
    graph = exported("xlsr") / "model.int8.onnx"
    shutil.copy(graph, tmp_path)
    write(tmp_path / "wavestitch.json", {"onnx": {"int8": graph.name}})
    model = load_model(ModelConfig(name=str(tmp_path), precision="fp32"))
    assert (PytorchModel, "float32") == (type(model), model.precision)


@pytest.mark.parametrize("backend", ["auto", "onnx", "torch"])
def test_a_folder_without_weights_is_told_what_is_expected(tmp_path, backend):
    for name in ("config.json", "vocab.json", "preprocessor_config.json"):
        shutil.copy(checkpoint("xlsr") / name, tmp_path)
    expected = r"has no weights: expected \.safetensors, or an \.onnx graph"
    with pytest.raises(ModelError, match=expected):
        load_model(ModelConfig(name=str(tmp_path), backend=backend))


def test_a_graph_that_is_not_there_cannot_be_asked_for():
    with pytest.raises(ConfigError, match=r"has no ONNX graph.*wavestitch export"):
        load_model(ModelConfig(name=str(checkpoint("xlsr")), backend="onnx"))


def test_no_name_is_the_bundled_model(monkeypatch):
    monkeypatch.setattr(loading, "BUNDLED_MODEL", exported("bundled"))
    assert load_model(ModelConfig()).name == "tiny-bundled"


def test_the_language_can_be_told():
    settings = ModelConfig(name=str(exported("bundled")), language="pt")
    assert load_model(settings).language == "pt"


@pytest.mark.parametrize("name", ["no-such-folder", "a/b/c", "/nowhere/at/all", ""])
def test_neither_a_folder_nor_a_hub_id(name):
    with pytest.raises(ConfigError, match="neither a folder here nor a hub id"):
        load_model(ModelConfig(name=name))


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises(ModelError, match="is no checkpoint folder"):
        load_model(ModelConfig(name=str(tmp_path)))


class TestDescribe:
    def test_an_exported_folder(self):
        card = describe(exported("bundled"))
        assert card.name == "tiny-bundled"
        assert card.architecture == "wav2vec2"
        assert card.geometry == Geometry(16_000, 320, 1_120)
        assert card.labels == 8
        assert card.languages == ("en",)
        assert card.normalise
        assert card.precisions == ("int8", "fp32")
        assert card.backends == ("onnx", "torch")
        assert card.inference == "windowed"
        files = exported("bundled").iterdir()
        assert sum(path.stat().st_size for path in files) == card.bytes

    def test_parameters_are_those_of_the_module(self):
        module = load_model(ModelConfig(name=str(checkpoint("xlsr"))))._module
        norms = 128  # the weight norm's magnitudes, folded when served
        expected = sum(p.numel() for p in module.parameters()) + norms
        assert expected == describe(checkpoint("xlsr")).parameters

    def test_every_language_with_an_adapter(self):
        card = describe(ModelConfig(name=str(checkpoint("mms")), language="deu"))
        assert tuple(sorted(LANGUAGES)) == card.languages
        assert (card.language, card.labels) == ("deu", len(LANGUAGES["deu"]))
        assert card.backends == ("torch",)

    def test_weights_that_are_none(self, tmp_path):
        for path in checkpoint("xlsr").iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "model.safetensors").write_bytes(b"\xff" * 40)
        with pytest.raises(ModelError, match="is no safetensors file"):
            describe(tmp_path)
