"""States that stay with ONNX Runtime say what states in numpy say."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")

from streaming.errors import ConfigError, ModelError
from streaming.models.bound_onnx import KEEP, BoundOnnx, kept_rows
from streaming.models.checkpoint import read_checkpoint
from streaming.models.horizon import Horizon
from streaming.models.metadata import StepShape
from streaming.models.model import Step
from streaming.models.onnx import load_onnx
from streaming.tools.keeping import keeping
from tests.checkpoints import exported, noise

STRIDE = 320
HOP, RIGHT = 16 * STRIDE, 16 * STRIDE
HORIZON = Horizon(left=20, sink=5, right=64)
CUDA = "CUDAExecutionProvider"


def load(kind, horizon, *, bound=True, device="cpu", **more):
    return load_onnx(
        read_checkpoint(exported(kind)),
        device=device,
        precision="fp32",
        inference="stateful",
        horizon=horizon,
        bound=bound,
        **more,
    )


def take(model, samples, steps, state=None):
    state = state or model.open()
    found, at = [], 0
    for hop, right in steps:
        [rows] = model.step([Step(state, samples[at : at + hop + right], hop)])
        found.append(rows)
        at += hop
    return found


def assert_same(expected, found):
    for wanted, rows in zip(expected, found, strict=True):
        # The order of the left context differs, so sums are rounded otherwise.
        np.testing.assert_allclose(rows, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "horizon"),
    [
        ("xlsr", Horizon(left=512, right=64)),
        ("mms", HORIZON),
        ("bundled", Horizon(left=5, sink=30, right=64)),
        ("bundled", Horizon(left=0, right=64)),
        ("bundled", Horizon(left=40, right=2)),
    ],
)
def test_steps_are_those_of_states_in_numpy(kind, horizon):
    samples = noise(30_123)
    steps = [(HOP, RIGHT)] * 4 + [(30_123 - 4 * HOP, 0)]
    expected = take(load(kind, horizon, bound=False), samples, steps)
    assert_same(expected, take(load(kind, horizon), samples, steps))


@settings(max_examples=15, deadline=None)
@given(
    hops=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6),
    last=st.integers(1, 6_000),
    left=st.integers(0, 24),
    sink=st.integers(0, 6),
    kept=st.integers(0, 12),
)
def test_hops_of_any_length_too(hops, last, left, sink, kept):
    horizon = Horizon(left, sink, kept)
    steps = [(h * STRIDE, r * STRIDE) for h, r in hops if h + r] + [(last, 0)]
    samples = noise(sum(hop for hop, _ in steps) + 12 * STRIDE)
    expected = take(load("bundled", horizon, bound=False), samples, steps)
    assert_same(expected, take(load("bundled", horizon), samples, steps))


@given(
    left=st.integers(0, 9),
    sink=st.integers(0, 5),
    hops=st.lists(st.integers(0, 12), max_size=8),
)
def test_what_is_kept_is_what_a_ring_keeps(left, sink, hops):
    horizon = Horizon(left, sink)
    rows, ring, past = np.empty(0, int), np.full(horizon.places, -1), 0
    for hop in hops:
        new = np.arange(past, past + hop + 3)  # right context comes out too
        rows = np.concatenate((rows, new))[kept_rows(horizon, past, hop)]
        row, place = horizon.written(past, hop)
        ring[place] = past + row
        past += hop
        assert sorted(ring[: horizon.filled(past)]) == list(rows)


class TestTheState:
    def test_is_bounded(self):
        model = load("bundled", HORIZON)
        state = model.open()
        take(model, noise(HOP * 12), [(HOP, RIGHT)] * 10, state)
        a_row = 2 * 2 * 32 * 4  # two layers' keys and values
        assert 25 * a_row + (16 + 13) * 32 * 4 == state.bytes
        state.close()
        assert 0 == state.bytes

    def test_moves_only_if_all_do(self, monkeypatch):
        model, sound = load("bundled", HORIZON), noise(HOP * 4)
        expected = take(model, sound, [(HOP, RIGHT)] * 3)
        states = [model.open(), model.open()]
        for state in states:
            take(model, sound, [(HOP, RIGHT)], state)
        moved, calls = BoundOnnx.moved, []

        def failing(self, *given):
            calls.append(given)
            if len(calls) == 8:  # of the second state
                raise RuntimeError("no more memory")
            return moved(self, *given)

        batch = [Step(state, sound[HOP : HOP * 3], HOP) for state in states]
        with monkeypatch.context() as patch:
            patch.setattr(BoundOnnx, "moved", failing)
            with pytest.raises(ModelError, match="no more memory"):
                model.step(batch)
        for row in model.step(batch):
            np.testing.assert_array_equal(expected[1], row)

    def test_is_taken_by_one_step_of_its_model(self):
        model, other = load("bundled", HORIZON), load("bundled", HORIZON)
        state = model.open()
        sound = noise(HOP)
        with pytest.raises(ModelError, match="two steps at once"):
            model.step([Step(state, sound, HOP)] * 2)
        with pytest.raises(ModelError, match="another model"):
            other.step([Step(state, sound, HOP)])
        take(model, noise(1_000), [(1_000, 0)], state)
        with pytest.raises(ModelError, match="ended with row 4"):
            model.step([Step(state, sound, HOP)])
        state.close()
        with pytest.raises(ModelError, match="a closed state"):
            model.step([Step(state, sound, HOP)])

    def test_clones_take_each_others_steps(self):
        model, sound = load("bundled", HORIZON), noise(HOP * 4)
        expected = take(model, sound, [(HOP, RIGHT)] * 3)
        state, found = model.open(), []
        for number, worker in enumerate((model, model.clone(), model)):
            piece = sound[HOP * number : HOP * (number + 2)]
            found += worker.step([Step(state, piece, HOP)])
        assert_same(expected, found)


def test_the_file_is_what_is_written():
    assert keeping().SerializeToString() == KEEP.read_bytes()


class Binding:
    """Writes down what is bound where; every output is one value."""

    def __init__(self, bound):
        self.bound = bound

    def bind_cpu_input(self, name, rows):
        self.bound.append((name, "here", rows.shape))

    def bind_ortvalue_input(self, name, value):
        self.bound.append((name, "there", tuple(value.shape())))

    def bind_output(self, name, device, number=0):
        self.bound.append((name, device, number))

    def get_outputs(self):
        rows = np.zeros((4, 1, 8), np.float32)
        outputs = [each for each in self.bound if each[1] in ("cuda", "cpu")]
        return [onnxruntime.OrtValue.ortvalue_from_numpy(rows)] * len(outputs)


class Session:
    def __init__(self):
        self.bindings = []

    def io_binding(self):
        self.bindings.append([])
        return Binding(self.bindings[-1])

    def run_with_iobinding(self, binding):
        assert binding.bound


def test_on_a_gpu_logits_alone_come_back():
    session, mover = Session(), Session()
    keeps = BoundOnnx(StepShape(1, 8, 3), Horizon(4), "cuda", 1, mover)
    state = keeps.open()
    taken = state.take(session, np.zeros((1, 1_280), np.float32), 0, 2, 0)
    state.move(2, 0, taken, ended=False)
    [bound] = session.bindings
    assert [("samples", "here", (1, 1_280))] == [b for b in bound if b[1] == "here"]
    assert {"logits": ("cpu", 0)} | dict.fromkeys(
        ("frames", "keys.0", "values.0"), ("cuda", 1)
    ) == {name: (device, at) for name, device, at in bound if device in ("cpu", "cuda")}
    assert {"past.frames", "past.keys.0", "past.values.0"} == {
        name for name, where, _ in bound if where == "there"
    }
    assert 3 == len(mover.bindings)
    for each in mover.bindings:
        assert [("kept", "cuda", 1)] == [b for b in each if b[0] == "kept"]
        assert ["pick"] == [name for name, where, _ in each if where == "here"]


class TestAsked:
    @pytest.fixture
    def cuda(self, monkeypatch):
        """Sessions that say they run on a GPU, and which graph of which they are."""
        opened, session = [], onnxruntime.InferenceSession

        class Claims:
            def __init__(self, path, options, providers):
                self.real = session(path, options, providers=["CPUExecutionProvider"])
                self.providers = providers
                opened.append((str(path), providers[0]))

            def __getattr__(self, name):
                return getattr(self.real, name)

            def get_providers(self):
                return [CUDA, "CPUExecutionProvider"]

            def get_provider_options(self):
                return {CUDA: self.providers[0][1]}

        monkeypatch.setattr(onnxruntime, "InferenceSession", Claims)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA])
        return opened

    def test_steps_on_a_gpu_keep_their_states_there(self, cuda):
        model = load("bundled", HORIZON, bound=False, device="cuda:1")
        assert ("cuda", 1) == (model._keeps.device, model._keeps.number)
        assert ("cuda", True) == (model.device, model.stateful)
        options = (CUDA, {"device_id": 1})
        assert [options, options] == [provider for _, provider in cuda]
        assert cuda[1][0] == str(KEEP)

    @pytest.mark.usefixtures("cuda")
    def test_a_narrow_cache_is_torchs(self):
        with pytest.raises(ConfigError, match="take backend torch"):
            load("bundled", HORIZON, device="cuda", cache="fp16")

    @pytest.mark.usefixtures("cuda")
    def test_a_device_that_was_not_named_is_the_cpu(self):
        assert "cpu" != load("bundled", HORIZON, device="cuda").device
        model = load("bundled", HORIZON, bound=False, device="auto")
        assert isinstance(model.open().bytes, int)


@pytest.mark.skipif(
    CUDA not in onnxruntime.get_available_providers(), reason="ONNX Runtime has no CUDA"
)
@pytest.mark.parametrize("kind", ["xlsr", "bundled"])
def test_a_gpu_says_what_a_cpu_says(kind):
    samples = noise(30_123)
    steps = [(HOP, RIGHT)] * 4 + [(30_123 - 4 * HOP, 0)]
    expected = take(load(kind, HORIZON, bound=False), samples, steps)
    found = take(load(kind, HORIZON, device="cuda"), samples, steps)
    for wanted, rows in zip(expected, found, strict=True):
        np.testing.assert_allclose(rows, wanted, atol=2e-2)  # TF32
