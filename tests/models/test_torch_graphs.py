"""Steps of fixed sizes say what steps as they are say, also when only replayed."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

from streaming.config import ModelConfig, WindowConfig  # noqa: E402
from streaming.errors import ModelError  # noqa: E402
from streaming.models import torch_slots  # noqa: E402
from streaming.models.horizon import Horizon  # noqa: E402
from streaming.models.loading import load_model, locate  # noqa: E402
from streaming.models.model import Step  # noqa: E402
from streaming.models.pytorch import load_pytorch  # noqa: E402
from streaming.models.stateful_torch import HowSteps, Stepper  # noqa: E402
from streaming.models.torch_graphs import _lengths  # noqa: E402
from streaming.models.torch_step import Made  # noqa: E402
from streaming.numeric.geometry import Geometry  # noqa: E402
from tests.checkpoints import checkpoint, noise  # noqa: E402

STRIDE = 320
HORIZON = Horizon(left=20, sink=2, right=4, hop=6)


class Again:
    """A record that computes once more."""

    def __init__(self):
        self.calls = 0

    def __call__(self, run):
        def repeat():
            self.calls += 1
            return run()

        return repeat


def traced(run):
    """A record whose calls run no Python of ours again, as those of a CUDA graph."""

    def outputs():
        made = run()
        return made.logits, made.seen, made.sums

    graph = []

    def repeat():
        if not graph:
            graph.append(make_fx(outputs)())
        return Made(*graph[0](), past=())

    return repeat


@cache
def module_of(kind):
    config = ModelConfig(name=str(checkpoint(kind)), backend="torch")
    model = load_model(config)
    return model._module, model.geometry


def talked(model, horizon, streams, seed=0):
    """Several streams at once, in batches of some; the rows of each step of each."""
    generator = np.random.default_rng(seed)
    hop, right = horizon.hop * STRIDE, horizon.right * STRIDE
    states, at = [model.open() for _ in streams], [0] * len(streams)
    found = [[] for _ in streams]
    while waiting := [i for i, s in enumerate(streams) if at[i] < len(s)]:
        count = generator.integers(1, len(waiting) + 1)
        chosen = generator.permutation(waiting)[:count]
        batch = []
        for i in chosen:
            piece = streams[i][at[i] : at[i] + hop + right]
            kept = hop if len(piece) == hop + right else len(piece)
            batch.append(Step(states[i], piece, kept))
            at[i] += kept
        for i, rows in zip(chosen, model.step(batch), strict=True):
            found[i].append(rows)
    return found


def assert_same(expected, found, atol=1e-5):
    for ours, theirs in zip(found, expected, strict=True):
        assert [each.shape for each in theirs] == [each.shape for each in ours]
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, other, atol=atol)


@pytest.fixture(params=[1, 2], ids=["a slab each", "slots in slabs"])
def _slabs(request, monkeypatch):
    monkeypatch.setitem(torch_slots._FIRST_SLOTS, "cpu", request.param)


STREAMS = [noise(n, i) for i, n in enumerate((20_003, 6_400, 320, 12_345, 9))]


@pytest.mark.usefixtures("_slabs")
@pytest.mark.parametrize("kind", ["xlsr", "base"])
@pytest.mark.parametrize(
    "horizon",
    [
        pytest.param(HORIZON, id="usual"),
        pytest.param(Horizon(3, 0, 5, 4), id="a hop longer than its left context"),
        pytest.param(Horizon(0, 0, 3, 5), id="no left context"),
    ],
)
def test_steps_of_fixed_sizes_are_eager_ones(kind, horizon):
    module, geometry = module_of(kind)
    record = Again()
    eager = Stepper(module, geometry, horizon)
    fixed = Stepper(module, geometry, horizon, HowSteps(record=record))
    expected = talked(eager, horizon, STREAMS)
    assert_same(expected, talked(fixed, horizon, STREAMS))
    assert 0 == eager.recorded < fixed.recorded
    assert record.calls > 4


@pytest.mark.parametrize("kind", ["xlsr", "base"])
def test_a_recording_reads_nothing_but_its_tensors(kind):
    """Its numbers change from one replay to the next, and nothing else does."""
    module, geometry = module_of(kind)
    fixed = Stepper(module, geometry, HORIZON, HowSteps(record=traced))
    expected = talked(Stepper(module, geometry, HORIZON), HORIZON, STREAMS[:1])
    assert_same(expected, talked(fixed, HORIZON, STREAMS[:1]))
    assert 3 < len(expected[0])


def test_a_slot_that_was_used_before_is_as_good_as_new():
    module, geometry = module_of("base")
    fixed = Stepper(module, geometry, HORIZON, HowSteps(record=Again()))
    first = talked(fixed, HORIZON, STREAMS)
    loud = [noise(16_000, i, gain=9) for i in range(5)]
    talked(fixed, HORIZON, loud)
    assert_same(first, talked(fixed, HORIZON, STREAMS))


def test_clones_take_each_others_steps():
    module, geometry = module_of("xlsr")
    eager = talked(Stepper(module, geometry, HORIZON), HORIZON, STREAMS)
    fixed = Stepper(module, geometry, HORIZON, HowSteps(record=Again()))
    clone = fixed.clone(module)

    class Turns:
        open = fixed.open
        workers = (fixed, clone)

        def step(self, batch):
            self.workers = self.workers[::-1]
            return self.workers[0].step(batch)

    assert_same(eager, talked(Turns(), HORIZON, STREAMS))


@pytest.mark.parametrize("cache_precision", ["bf16", "fp16"])
def test_a_narrow_cache_is_widened_into_the_buffers(cache_precision):
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[cache_precision]
    module, geometry = module_of("xlsr")
    eager = Stepper(module, geometry, HORIZON, HowSteps(dtype))
    fixed = Stepper(module, geometry, HORIZON, HowSteps(dtype, record=Again()))
    expected = talked(eager, HORIZON, STREAMS)
    assert_same(expected, talked(fixed, HORIZON, STREAMS), atol=1e-4)


def test_all_of_a_batch_move_on_or_none():
    module, geometry = module_of("xlsr")
    fixed = Stepper(module, geometry, HORIZON, HowSteps(record=Again()))
    expected = talked(fixed, HORIZON, STREAMS[:2])
    states = [fixed.open(), fixed.open()]
    window = (HORIZON.hop + HORIZON.right) * STRIDE
    broken = noise(window)
    broken[7] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        fixed.step([Step(each, broken, window) for each in states])
    assert [0, 0] == [state.past for state in states]
    # What was not a number stays in no buffer.
    assert_same(expected, talked(fixed, HORIZON, STREAMS[:2]))


def test_steps_longer_than_any_size_are_run_as_they_are():
    module, geometry = module_of("xlsr")
    record = Again()
    fixed = Stepper(module, geometry, HORIZON, HowSteps(record=record))
    samples = noise(32_000)
    [found] = fixed.step([Step(fixed.open(), samples, len(samples))])
    eager = Stepper(module, geometry, HORIZON)
    [expected] = eager.step([Step(eager.open(), samples, len(samples))])
    np.testing.assert_array_equal(expected, found)
    assert 0 == record.calls


def test_without_a_usual_hop_nothing_is_recorded():
    module, geometry = module_of("xlsr")
    fixed = Stepper(module, geometry, Horizon(9), HowSteps(record=Again()))
    fixed.step([Step(fixed.open(), noise(960), 960)])
    assert 0 == fixed.recorded


def test_what_cannot_be_recorded_is_run_as_it_is_and_said_once(caplog):
    def out_of_memory(_):
        raise RuntimeError("CUDA error: operation not permitted\nmore of it")

    module, geometry = module_of("xlsr")
    fixed = Stepper(module, geometry, HORIZON, HowSteps(record=out_of_memory))
    eager = Stepper(module, geometry, HORIZON)
    expected = talked(eager, HORIZON, STREAMS)
    with caplog.at_level(logging.WARNING):
        assert_same(expected, talked(fixed, HORIZON, STREAMS))
    [line] = [record.getMessage() for record in caplog.records]
    assert "0 sizes of steps recorded, the others run eagerly: CUDA error" in line
    assert "more of it" not in line


def test_sizes_are_whole_windows_a_part_of_one_and_two_hops():
    # 16 hop, 16 right of which one row sees zeros: 17 of 32 are fresh.
    expected = [(16, 16), (32, 17), (32, 32), (48, 48)]
    assert expected == _lengths(Geometry(), Horizon(256, 0, 16, 16))
    assert [] == _lengths(Geometry(), Horizon(256, 0, 16))


def test_the_usual_hop_is_the_configured_one():
    config = ModelConfig(name=str(checkpoint("xlsr")), backend="torch")
    window = WindowConfig(400, 640, 160)
    horizon = Horizon.from_config(window, config, Geometry())
    assert Horizon(20, 0, 8, 32) == horizon


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@CUDA
@pytest.mark.parametrize("kind", ["xlsr", "base"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpus_graphs_say_what_its_eager_steps_say(kind, precision):
    def load(graphs):
        return load_pytorch(
            locate(ModelConfig(name=str(checkpoint(kind)))),
            device="cuda",
            precision=precision,
            horizon=HORIZON,
            steps=HowSteps(graphs=graphs),
        )

    eager, graphs = load(False), load(True)
    streams = [noise(20_003 - 700 * i, i) for i in range(20)]
    expected = talked(eager, HORIZON, streams)
    found = talked(graphs, HORIZON, streams)
    assert 0 == eager._stepper.recorded < graphs._stepper.recorded
    # Kernels are chosen by the sizes: bf16 rounds otherwise then.
    assert_same(expected, found, atol=1e-4 if precision == "fp32" else 0.2)
