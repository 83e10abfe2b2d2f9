"""What is exported is whole, small, and says what the checkpoint says."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
onnx = pytest.importorskip("onnx")

import onnxruntime  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from streaming.config import ModelConfig  # noqa: E402
from streaming.errors import ModelError  # noqa: E402
from streaming.models.checkpoint import read_checkpoint  # noqa: E402
from streaming.models.loading import load_model  # noqa: E402
from streaming.tools import graph  # noqa: E402
from streaming.tools.export import export_checkpoint, set_calibration  # noqa: E402
from streaming.tools.graph_front import convolution  # noqa: E402
from streaming.tools.nodes import Nodes  # noqa: E402
from tests.checkpoints import checkpoint, exported, noise  # noqa: E402

FILES = {
    "config.json",
    "model.int8.onnx",
    "model.safetensors",
    "preprocessor_config.json",
    "vocab.json",
    "wavestitch.json",
}


def export(kind, target, **options):
    options = {"name": "tiny", "language": "en"} | options
    return export_checkpoint(checkpoint(kind), target, **options)


def test_the_folder_holds_what_is_served_and_nothing_else(tmp_path):
    export("bundled", tmp_path)
    assert FILES == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("options", "graphs"),
    [
        ({}, {"model.int8.onnx"}),
        ({"int8": False}, {"model.onnx"}),
        ({"fp32": True}, {"model.int8.onnx", "model.onnx"}),
    ],
)
def test_the_graphs_that_were_asked_for(tmp_path, options, graphs):
    export("bundled", tmp_path, fp16_safetensors=False, **options)
    assert graphs == {path.name for path in tmp_path.glob("*.onnx")}
    assert not (tmp_path / "model.safetensors").exists()


def test_the_metadata_is_read_back(tmp_path):
    written = export("bundled", tmp_path, temperature=1.25)
    assert written == read_checkpoint(tmp_path)
    assert ("tiny", "en", 1.25) == (written.name, written.language, written.temperature)
    metadata = json.loads((tmp_path / "wavestitch.json").read_text())
    assert {"sample_rate": 16_000, "stride": 320, "receptive_field": 1_120} == metadata[
        "geometry"
    ]
    module = transformers.Wav2Vec2ForCTC.from_pretrained(checkpoint("bundled"))
    assert sum(p.numel() for p in module.parameters()) == metadata["parameters"]


def test_the_calibration_can_be_set_afterwards(tmp_path):
    export("bundled", tmp_path)
    before = json.loads((tmp_path / "wavestitch.json").read_text())
    set_calibration(tmp_path, 1.75, -0.5)

    model = load_model(ModelConfig(name=str(tmp_path)))
    assert (1.75, -0.5) == (model.temperature, model.bias)
    after = json.loads((tmp_path / "wavestitch.json").read_text())
    assert {**before, "temperature": 1.75, "bias": -0.5} == after


def test_a_checkpoint_without_a_feature_extractor_normalises(tmp_path):
    """As the training tool writes it."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("config.json", "model.safetensors", "vocab.json"):
        (source / name).write_bytes((checkpoint("bundled") / name).read_bytes())
    target = tmp_path / "target"
    assert export_checkpoint(source, target, name="x", language="en").normalise
    extractor = json.loads((target / "preprocessor_config.json").read_text())
    assert (True, 16_000) == (extractor["do_normalize"], extractor["sampling_rate"])


def test_half_precision_weights_are_half_the_size_and_everyones(tmp_path):
    export("xlsr", tmp_path)
    half, full = (
        tmp_path / "model.safetensors",
        checkpoint("xlsr") / "model.safetensors",
    )
    assert half.stat().st_size < 0.6 * full.stat().st_size
    assert stat.S_IMODE(half.stat().st_mode) == 0o644
    window = noise(8_000)
    expected = load_model(ModelConfig(name=str(checkpoint("xlsr")))).forward([window])
    again = load_model(ModelConfig(name=str(tmp_path), backend="torch"))
    np.testing.assert_allclose(again.forward([window])[0], expected[0], atol=0.05)


def test_exporting_over_an_export_replaces_it(tmp_path):
    export("bundled", tmp_path, name="first", int8=False)
    export("bundled", tmp_path, name="second")
    model = load_model(ModelConfig(name=str(tmp_path)))
    assert ("second", "int8") == (model.name, model.precision)


def test_the_convolutions_and_products_are_int8():
    model = onnx.load(exported("bundled") / "model.int8.onnx")
    weights = {t.name: t for t in model.graph.initializer}
    quantized = [n for n in model.graph.node if n.op_type == "MatMulInteger"]
    # 2 of 3 convolutions, the projection, and 4 a layer.
    assert 2 + 1 + 4 * 2 == len(quantized)
    kept = {
        n.name
        for n in model.graph.node
        if n.op_type == "MatMul" and n.input[1] in weights
    }
    assert {graph.FIRST_PRODUCT, graph.HEAD_PRODUCT} == kept
    largest = max(
        np.abs(onnx.numpy_helper.to_array(weights[n.input[1]]).astype(int)).max()
        for n in quantized
    )
    assert largest <= 64  # 7 bits: sums of products saturate nowhere


def test_an_adapter_on_top_is_not_exported(tmp_path):
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=[8] * 7,
        vocab_size=8,
        add_adapter=True,
    )
    with pytest.raises(ModelError, match=r"add_adapter=True.*through torch"):
        graph.build_graph(transformers.Wav2Vec2ForCTC(config))
    with pytest.raises(ModelError, match="model_type='wav2vec2-bert'"):
        export("bert", tmp_path)


class Convolution(nn.Module):
    def __init__(self, channels, out, kernel, stride, bias):
        super().__init__()
        self.conv = nn.Conv1d(channels, out, kernel, stride, bias=bias)

    def forward(self, x):
        return nn.functional.gelu(self.conv(x.transpose(1, 2))).transpose(1, 2)


@settings(deadline=None, max_examples=20)
@given(
    channels=st.integers(1, 3),
    stride=st.integers(1, 5),
    taps=st.integers(0, 9),
    spare=st.integers(0, 23),
    bias=st.booleans(),
)
def test_a_convolution_as_products_is_the_convolution(
    channels, stride, taps, spare, bias
):
    kernel = stride + taps
    layer = Convolution(channels, 4, kernel, stride, bias).requires_grad_(False)
    x = torch.randn(2, kernel + spare, channels)
    found = run_convolution(layer, x.numpy())
    np.testing.assert_allclose(found, layer(x).numpy(), atol=1e-5)


def run_convolution(layer, x):
    nodes = Nodes()
    y = convolution(nodes, "c", layer, "samples")
    nodes.add("Identity", y, output="logits")
    model = nodes.model(
        {"samples": ("batch", "time", x.shape[2])}, {"logits": ("batch", "rows", 4)}
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(["logits"], {"samples": x})[0]
