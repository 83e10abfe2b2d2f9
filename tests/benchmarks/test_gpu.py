"""The GPU benchmark, on a CPU: every part with a tiny shape."""

from __future__ import annotations

import json
import subprocess
from argparse import Namespace
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")

from benchmarks import gpu, gpu_asked, gpu_capacity, gpu_parts, shapes
from benchmarks.gpu_capacity import binding
from streaming.config import WindowConfig
from streaming.tools.paced import PacedOutcome

SMALL = {
    **shapes.SHAPES["xlsr"],
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embedding_groups": 2,
}


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    """A tiny shape, of which even a busy machine carries streams."""
    made = shapes.weights_of
    monkeypatch.setitem(shapes.SHAPES, "small", SMALL)
    for module in (gpu, gpu_asked, gpu_parts):
        monkeypatch.setattr(module, "weights_of", lambda name: made(name, tmp_path))
    monkeypatch.setattr(gpu_parts, "CACHE", tmp_path)
    monkeypatch.setattr(gpu_parts, "WINDOWS", (WindowConfig(640, 160, 80),))
    monkeypatch.setattr(gpu_parts, "_PASSES_S", (0.5,))
    # The search itself is tested in tests/tools/test_capacity.py.
    monkeypatch.setattr(gpu_capacity, "foretold", lambda _: 1)


def run(capsys, *more):
    arguments = "--device cpu --shape small --minutes 0.02 --json".split()
    code = gpu.main([*arguments, *more])
    return code, json.loads(capsys.readouterr().out)


def test_every_part_has_rows(capsys):
    code, found = run(capsys, "--parts", "bare", "steps", "onnx")

    assert 0 == code
    parts = {name: part["rows"] for name, part in found["parts"].items()}
    assert {"pass over 0.5 s", "step"} == {row["what"] for row in parts["bare"]}
    assert {"fp32", "bf16"} == {row["precision"] for row in parts["bare"]}
    assert all(row["streams"] > 0 and row["tflops"] > 0 for row in parts["bare"])
    eager, fixed = parts["steps"]
    assert 0 == eager["recorded"] < fixed["recorded"]
    assert fixed["unlike_eager"] < 1e-4
    assert {"CPUExecutionProvider"} == {row["provider"] for row in parts["onnx"]}
    assert ["pass over 0.5 s", "step"] == [row["what"] for row in parts["onnx"]]
    assert {"machine", "versions", "commit", "device", "shape"} <= set(found)


@pytest.mark.slow
def test_a_step_can_be_compiled(capsys):
    _, found = run(capsys, "--parts", "compiled")
    rows = found["parts"]["compiled"]["rows"]
    assert ["as it is", "torch.compile"] == [row["way"] for row in rows]


def test_streams_at_the_engine_are_told_with_what_binds(capsys, monkeypatch):
    hear = gpu_capacity.PacedHall.hear

    def at_most_two(self, crowd):
        return (
            PacedOutcome(3, hopeless=True) if crowd.streams > 2 else hear(self, crowd)
        )

    monkeypatch.setattr(gpu_capacity.PacedHall, "hear", at_most_two)
    # No time at all: one crowd is heard all the same.
    code, found = run(capsys, "--parts", "capacity")

    assert 0 == code
    [row] = found["parts"]["capacity"]["rows"]
    assert 0 < row["streams"] == found["streams"] <= 2
    assert (0, 0, "") == (row["audio_loss"], row["finals_missing"], row["failure"])
    assert row["redundancy"] > 1
    assert 0 < row["wait_s"]["p50"] <= row["wait_s"]["p99"]
    assert row["state_mb_a_stream"] > 0
    assert row["binds"] == found["binds"]


def test_a_part_that_fails_leaves_the_others_alone(capsys, monkeypatch):
    def broken(_):
        raise RuntimeError("out of memory")

    parts = {**gpu_parts.PARTS, "bare": (0.5, broken)}
    monkeypatch.setattr(gpu, "PARTS", parts)
    code, found = run(capsys, "--parts", "bare", "steps")

    assert 1 == code
    assert "RuntimeError: out of memory" == found["parts"]["bare"]["error"]
    assert 2 == len(found["parts"]["steps"]["rows"])
    page = StringIO()
    gpu._print(Console(file=page, width=200), found)
    assert "bare: failed: RuntimeError: out of memory" in page.getvalue()
    assert "fixed sizes" in page.getvalue()


def test_without_cuda_onnx_runtime_says_so():
    asked = gpu_asked.Asked("small", "cuda", 1.0, 0.0)
    import onnxruntime  # noqa: PLC0415

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("it has CUDA here")
    [row] = gpu_parts.onnx(asked)
    assert "skipped: this ONNX Runtime has " in row["what"]
    assert row["what"].endswith("but no CUDA")


class TestApart:
    """On a GPU each part is a process."""

    options = Namespace(device="cuda", shape="small", most=64)

    def apart(self, monkeypatch, answer):
        called = []

        def started(command, **more):
            called.append((command, more))
            return answer()

        monkeypatch.setattr(subprocess, "run", started)
        found = gpu._apart("steps", self.options, 60.0)
        [(command, more)] = called
        return found, command, more

    def test_its_last_line_is_its_rows(self, monkeypatch):
        said = 'a library talks\n{"rows": [{"what": 1}]}\n'
        found, command, more = self.apart(
            monkeypatch, lambda: SimpleNamespace(returncode=0, stdout=said, stderr="")
        )
        assert {"rows": [{"what": 1}]} == found
        said = " ".join(command[1:])
        assert "-m benchmarks.gpu --parts steps --share 45 --device cuda" in said
        assert 60 < more["timeout"] < 100

    def test_its_end_is_told(self, monkeypatch):
        found, *_ = self.apart(
            monkeypatch,
            lambda: SimpleNamespace(returncode=-6, stdout="", stderr="1\n2\n3\nabort"),
        )
        assert {"error": "exit -6: 2 | 3 | abort"} == found

    def test_it_is_ended_when_it_takes_too_long(self, monkeypatch):
        def late():
            raise subprocess.TimeoutExpired("x", 93)

        found, *_ = self.apart(monkeypatch, late)
        assert {"error": "not done after 93 s"} == found


@pytest.mark.parametrize(
    ("outcome", "failure", "said"),
    [
        (None, "", "one stream is too many"),
        (PacedOutcome(9), "no room for the state of one more", "memory"),
        (PacedOutcome(9), "CUDA error: illegal", "a failure: CUDA error: illegal"),
        (PacedOutcome(9, front=0.95, busy=0.99), "", "the thread that paces"),
        (PacedOutcome(9, busy=0.95), "", "passes: the device, and Python between"),
        (PacedOutcome(9, busy=0.5), "", "waiting: the budget is over before"),
    ],
)
def test_what_binds(outcome, failure, said):
    assert binding(outcome, failure).startswith(said)


def test_shares_are_of_the_whole_time():
    assert pytest.approx(1.0) == sum(share for share, _ in gpu_parts.PARTS.values())


def test_efficiency_is_beside_bare_passes_of_the_same_precision():
    passes = [
        {"what": "pass over 2 s", "precision": "bf16", "streams": 4_000.0},
        {"what": "pass over 8 s", "precision": "bf16", "streams": 5_000.0},
        {"what": "pass over 2 s", "precision": "fp16", "streams": 9_000.0},
        {"what": "step", "precision": "bf16", "streams": 8_000.0},
    ]
    carried = [
        {"precision": "bf16", "streams": n, "binds": "x"} for n in (2_000, 2_500)
    ]
    found = gpu._summary({"bare": {"rows": passes}, "capacity": {"rows": carried}})
    assert (2_500, 5_000.0, 0.5) == (
        found["streams"],
        found["bare_streams"],
        found["efficiency"],
    )
    assert gpu._summary({"bare": {"error": "x"}})["streams"] is None
