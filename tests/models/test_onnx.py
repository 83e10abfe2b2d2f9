"""An exported graph says what torch says, on ONNX Runtime alone."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")

from streaming.config import ModelConfig
from streaming.errors import ConfigError, ModelError
from streaming.models import onnx_opening
from streaming.models.loading import load_model
from tests.checkpoints import checkpoint, exported, noise

KINDS = ["base", "xlsr", "mms", "bundled"]
CUDA = "CUDAExecutionProvider"


def load(kind, **settings):
    return load_model(ModelConfig(name=str(exported(kind)), **settings))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 320, 321, 5_000, 30_720])
def test_the_graph_is_the_torch_model(kind, samples):
    language = "deu" if kind == "mms" else None
    reference = load_model(ModelConfig(name=str(checkpoint(kind)), language=language))
    graph = load(kind, precision="fp32")
    window = noise(samples)
    expected, found = reference.forward([window])[0], graph.forward([window])[0]
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert reference.geometry.steps(samples) == len(found)
    assert reference.vocabulary == graph.vocabulary


@pytest.mark.parametrize("kind", ["xlsr", "bundled"])
def test_int8_is_close_to_fp32(kind):
    exact, quantized = load(kind, precision="fp32"), load(kind)
    assert quantized.precision == "int8"
    window = noise(30_720)
    expected, found = exact.forward([window])[0], quantized.forward([window])[0]
    error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    assert 0 < error < 0.15  # tiny random layers; the trained model has 0.0013


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_neighbours_do_not_change_a_window(precision):
    model = load("bundled", precision=precision)
    windows = [noise(n, i, gain=1 + 9 * i) for i, n in enumerate((16_000, 4_000, 321))]
    for window, row in zip(windows, model.forward(windows), strict=True):
        np.testing.assert_array_equal(row, model.forward([window])[0])
    assert (1, False) == (model.max_batch, model.pads)


def test_one_thread_that_does_not_spin():
    options = load("bundled")._session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_clones_run_side_by_side():
    model = load("bundled")
    windows = [noise(16_000, seed) for seed in range(4)]
    expected = [model.forward([w])[0] for w in windows]
    clones = [model.clone() for _ in windows]
    with ThreadPoolExecutor(len(windows)) as threads:
        for _ in range(5):
            found = threads.map(lambda m, w: m.forward([w])[0], clones, windows)
            for row, wanted in zip(found, expected, strict=True):
                np.testing.assert_array_equal(row, wanted)
    clones[0].close()
    np.testing.assert_array_equal(clones[1].forward([windows[0]])[0], expected[0])
    with pytest.raises(ModelError, match="was closed"):
        clones[0].forward([windows[0]])


@pytest.mark.parametrize("window", [noise(0), noise(320)[None]])
def test_a_window_is_a_row_of_samples(window):
    with pytest.raises(ModelError, match="a window must be"):
        load("bundled").forward([window])


def test_a_broken_graph_is_named(tmp_path):
    import shutil  # noqa: PLC0415

    shutil.copytree(exported("bundled"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.int8.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"model\.int8\.onnx.*cannot open"):
        load_model(ModelConfig(name=str(tmp_path)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "tpu"}, "device must be cpu, cuda"),
        ({"device": "cuda", "precision": "fp32", "backend": "onnx"}, r"has no CUDA"),
        ({"precision": "bf16", "backend": "onnx"}, "has graphs for int8, fp32"),
    ],
)
def test_what_cannot_be_had_is_said(settings, message, monkeypatch):
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"]
    )
    with pytest.raises(ConfigError, match=message):
        load("bundled", **settings)


BOTH = (
    r"pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu, or"
)


@pytest.mark.parametrize(
    ("installed", "remedy"),
    [
        (("onnxruntime",), r'pip install "wavestitch\[gpu\]"'),
        (("onnxruntime", "onnxruntime-gpu"), BOTH),
        (("onnxruntime-gpu",), r"onnxruntime-gpu has no CUDA on this platform"),
    ],
)
def test_what_to_install_follows_from_what_is_installed(installed, remedy, monkeypatch):
    def distribution(name):
        if name not in installed:
            raise onnx_opening.PackageNotFoundError(name)

    monkeypatch.setattr(onnx_opening, "distribution", distribution)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"]
    )
    with pytest.raises(ConfigError, match=remedy):
        load("bundled", device="cuda", precision="fp32", backend="onnx")


class TestCudaThatDoesNotStart:
    """ONNX Runtime then runs on the CPU and says nothing."""

    @pytest.fixture(autouse=True)
    def silent_fallback(self, monkeypatch):
        session = onnxruntime.InferenceSession

        def falls_back(path, options, providers):
            assert providers[0] == (CUDA, {"device_id": 1}) or providers[0][0] == CUDA
            return session(path, options, providers=["CPUExecutionProvider"])

        monkeypatch.setattr(onnxruntime, "InferenceSession", falls_back)
        monkeypatch.setattr(
            onnxruntime, "get_available_providers", lambda: [CUDA, "CPU..."]
        )

    def test_is_an_error_where_it_was_asked_for(self):
        with pytest.raises(ModelError, match="cuda:1: ONNX Runtime fell back to CPU"):
            load("bundled", device="cuda:1", backend="onnx")

    def test_is_told_where_it_was_not(self):
        model = load("bundled", device="auto")
        assert ("cpu", 1) == (model.device, model.max_batch)


def test_the_base_install_is_enough():
    """Neither torch nor transformers is imported, and asking for them is answered."""
    program = f"""
import sys
for name in ("torch", "transformers", "huggingface_hub", "onnx", "safetensors"):
    sys.modules[name] = None
import numpy as np
from streaming.config import ModelConfig
from streaming.errors import ConfigError
from streaming.models.loading import describe, load_model
from pathlib import Path
folder = {str(exported("bundled"))!r}
model = load_model(ModelConfig(name=folder))
assert model.forward([np.zeros(3200, np.float32)])[0].shape == (10, 8)
assert describe(Path(folder)).backends == ("onnx",)
for wrong in (
    ModelConfig(name=folder, backend="torch"),
    ModelConfig(name="owner/name", revision="0" * 40),
):
    try:
        load_model(wrong)
    except ConfigError as error:
        assert 'pip install "wavestitch[models]"' in str(error), error
    else:
        raise AssertionError(wrong)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
