"""Steps on torch say what one pass without any state says.

The reference is `masked_pass.py`. Checkpoints: XLSR-53, whose modules are those of
XLS-R and wav2vec2-large-lv60; MMS with its adapters; wav2vec2-base with its group
norm; the bundled front end; and layer norms with post-norm layers.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from streaming.config import ModelConfig, WindowConfig  # noqa: E402
from streaming.core.normalise import normalised  # noqa: E402
from streaming.errors import ConfigError, ModelError  # noqa: E402
from streaming.models import torch_slots  # noqa: E402
from streaming.models.horizon import Horizon  # noqa: E402
from streaming.models.loading import load_model  # noqa: E402
from streaming.models.model import Step  # noqa: E402
from streaming.models.pytorch import fold_weights  # noqa: E402
from streaming.models.stateful_torch import Stepper  # noqa: E402
from streaming.models.torch_front import TorchFront  # noqa: E402
from streaming.numeric.geometry import Geometry  # noqa: E402
from streaming.tools.corpus import read_manifest  # noqa: E402
from tests.checkpoints import SHAPES, checkpoint, noise, write  # noqa: E402
from tests.models.masked_pass import masked_pass  # noqa: E402

STRIDE = 320
LAYER_NORMS = ["xlsr", "mms", "bundled", "post"]
KINDS = [*LAYER_NORMS, "base"]
# Rows: left context, sinks, right context, and the hops.
SHAPES_OF_STEPS = [
    pytest.param(Horizon(20, 0, 5), 7, 5, id="eviction"),
    pytest.param(Horizon(9, 0, 0), 8, 0, id="no right context"),
    pytest.param(Horizon(7, 3, 6), 4, 6, id="sinks"),
    pytest.param(Horizon(3, 2, 2), 10, 8, id="a hop longer than its left context"),
    pytest.param(Horizon(0, 0, 4), 6, 4, id="no left context"),
    pytest.param(Horizon(500, 0, 10), 16, 10, id="nothing evicted"),
]


@cache
def module_of(kind):
    """A tiny `Wav2Vec2ForCTC`, and how its rows lie."""
    if kind == "post":
        torch.manual_seed(3)
        shape = {**SHAPES["xlsr"], "do_stable_layer_norm": False}
        module = transformers.Wav2Vec2ForCTC(
            transformers.Wav2Vec2Config(
                vocab_size=8,
                hidden_size=24,
                num_hidden_layers=3,
                num_attention_heads=2,
                intermediate_size=40,
                num_conv_pos_embeddings=19,
                num_conv_pos_embedding_groups=2,
                initializer_range=0.3,
                **shape,
            )
        )
        return fold_weights(module.eval()), Geometry()
    model = load_model(ModelConfig(name=str(checkpoint(kind)), backend="torch"))
    return model._module, model.geometry


def stepper(kind, horizon, **settings):
    module, geometry = module_of(kind)
    return Stepper(module, geometry, horizon, **settings)


def tiled(length, hop, right):
    """`(hop, right)` of an utterance in samples, as a Windower tiles it."""
    steps, at = [], 0
    while length - at >= hop + right:
        steps.append((hop, right))
        at += hop
    return [*steps, (length - at, 0)] if length > at else steps


def run(model, samples, steps, state=None):
    """The rows of each step."""
    state = state or model.open()
    found, at = [], 0
    for hop, right in steps:
        step = Step(state, samples[at : at + hop + right], hop)
        found += model.step([step])
        at += hop
    return found


def assert_steps(expected, found, atol=1e-4):
    assert [each.shape for each in expected] == [each.shape for each in found]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=atol)


@pytest.fixture
def seen(monkeypatch):
    """The rows that the front end gives for the first stream of each step."""
    rows, front = [], TorchFront.__call__

    def listen(*given):
        found = front(*given)
        rows.append(found[0][0])
        return found

    monkeypatch.setattr(TorchFront, "__call__", listen)
    return rows


@pytest.mark.parametrize(("horizon", "hop", "right"), SHAPES_OF_STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_one_masked_pass(kind, horizon, hop, right):
    if kind == "base" and not right:
        pytest.skip("test_a_group_norm_without_right_context_is_not_exact")
    samples = noise(20_003)
    steps = tiled(len(samples), hop * STRIDE, right * STRIDE)
    assert len(steps) > 2
    expected = masked_pass(*module_of(kind), horizon, samples, steps)
    assert_steps(expected, run(stepper(kind, horizon), samples, steps))


@given(data=st.data())
@settings(max_examples=40)
def test_steps_of_any_lengths_are_one_masked_pass(data):
    kind = data.draw(st.sampled_from(LAYER_NORMS))
    rows = st.integers(0, 12)
    horizon = Horizon(data.draw(rows), data.draw(st.integers(0, 4)), data.draw(rows))
    hops = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=6))
    last = data.draw(st.integers(1, 5 * STRIDE))
    samples = noise(sum(hops) * STRIDE + last)
    steps, left = [], len(samples)
    for hop in hops:
        # Also less than the step before has seen: an utterance may be cut.
        right = data.draw(st.integers(0 if hop else 1, left - hop * STRIDE))
        steps.append((hop * STRIDE, right))
        left -= hop * STRIDE
    steps.append((last, 0))
    expected = masked_pass(*module_of(kind), horizon, samples, steps)
    assert_steps(expected, run(stepper(kind, horizon), samples, steps))


@pytest.mark.parametrize("length", [1, 320, 321, 20_003])
@pytest.mark.parametrize("kind", ["xlsr", "mms", "bundled", "base"])
def test_one_step_over_everything_is_the_checkpoints_own_forward(kind, length):
    model = load_model(
        ModelConfig(name=str(checkpoint(kind)), backend="torch", inference="stateful")
    )
    samples = noise(length)
    [found] = model.step([Step(model.open(), samples, length)])
    reference = transformers.Wav2Vec2ForCTC.from_pretrained(checkpoint(kind)).eval()
    if kind == "mms":
        reference = module_of("mms")[0]
    padded = np.pad(samples, (0, model.geometry.padded(length) - length))
    with torch.inference_mode():
        expected = reference(torch.from_numpy(padded)[None]).logits[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", LAYER_NORMS)
def test_the_front_end_is_that_of_the_whole_utterance(kind, seen):
    model = stepper(kind, Horizon(4, 0, 8))
    module, geometry = module_of(kind)
    samples, state = noise(16_000), model.open()
    steps = tiled(len(samples), 5 * STRIDE, 8 * STRIDE)
    run(model, samples, steps, state)
    padded = np.pad(samples, (0, geometry.padded(len(samples)) - len(samples)))
    with torch.inference_mode():
        body = module.wav2vec2
        features = body.feature_extractor(torch.from_numpy(padded)[None])
        expected = body.feature_projection(features.transpose(1, 2))[0][0].numpy()
    # Each step computes its hop's worth of rows, and those again that saw zeros.
    again = -(-(geometry.receptive_field - STRIDE) // STRIDE)
    assert {5 + again} == {len(rows) for rows in seen[1:-1]}
    found = [rows[:-again].numpy() for rows in seen[:-1]] + [seen[-1].numpy()]
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)


class TestBatches:
    """Streams of one batch: what each is told does not depend on the others."""

    @pytest.fixture(params=[1, 2], ids=["a slab each", "slots in slabs"], autouse=True)
    def _slabs(self, request, monkeypatch):
        monkeypatch.setitem(torch_slots._FIRST_SLOTS, "cpu", request.param)

    @pytest.mark.parametrize("kind", KINDS)
    def test_batches_are_as_good_as_single_steps(self, kind):
        horizon = Horizon(6, 2, 4)
        model = stepper(kind, horizon)
        generator = np.random.default_rng(1)
        streams = [noise(n, i) for i, n in enumerate((20_003, 6_400, 320, 12_345, 9))]
        plans = [
            tiled(len(samples), int(hop) * STRIDE, 4 * STRIDE)
            for samples, hop in zip(streams, (3, 7, 5, 4, 6), strict=True)
        ]
        states = [model.open() for _ in streams]
        found, at = [[] for _ in streams], [0] * len(streams)
        while any(map(len, plans)):
            # Some of the streams, in any order.
            waiting = [i for i, plan in enumerate(plans) if plan]
            count = generator.integers(1, len(waiting) + 1)
            chosen = generator.permutation(waiting)[:count]
            batch = []
            for i in chosen:
                hop, right = plans[i].pop(0)
                piece = streams[i][at[i] : at[i] + hop + right]
                batch.append(Step(states[i], piece, hop))
                at[i] += hop
            for i, rows in zip(chosen, model.step(batch), strict=True):
                found[i].append(rows)
        for samples, rows, hop in zip(streams, found, (3, 7, 5, 4, 6), strict=True):
            steps = tiled(len(samples), hop * STRIDE, 4 * STRIDE)
            assert_steps(run(model, samples, steps), rows)
            assert_steps(masked_pass(*module_of(kind), horizon, samples, steps), rows)

    def test_all_of_a_batch_move_on_or_none(self):
        model = stepper("xlsr", Horizon(9, 0, 4))
        steps = [(4 * STRIDE, 4 * STRIDE)] * 3
        streams = [noise(9_600, i) for i in range(3)]
        expected = [run(model, samples, steps) for samples in streams]
        states = [model.open() for _ in streams]
        good = [
            Step(state, samples[: 8 * STRIDE], 4 * STRIDE)
            for state, samples in zip(states, streams, strict=True)
        ]
        broken = streams[1][: 8 * STRIDE].copy()
        broken[5] = np.nan
        with pytest.raises(ModelError, match="after row 0 gave logits that are not fi"):
            model.step([good[0], Step(states[1], broken, 4 * STRIDE), good[2]])
        assert [0, 0, 0] == [state.past for state in states]
        for state, samples, rows in zip(states, streams, expected, strict=True):
            assert_steps(rows, run(model, samples, steps, state))

    def test_a_slot_is_taken_again_and_nothing_of_it_remains(self):
        model = stepper("base", Horizon(6, 2, 4))
        steps = tiled(12_345, 3 * STRIDE, 4 * STRIDE)
        expected = run(model, noise(12_345), steps)
        states = [model.open() for _ in range(5)]
        for i, state in enumerate(states):
            run(model, noise(16_000, i, gain=9), [(16_000, 0)], state)
        slabs = len(model._slots._slabs)
        places = {(state.slab.number, state.slot) for state in states}
        assert 5 == len(places)
        for state in states:
            state.close()
            state.close()
        states = [model.open() for _ in range(5)]
        assert slabs == len(model._slots._slabs)
        for state in states:
            assert_steps(expected, run(model, noise(12_345), steps, state), atol=1e-6)

    def test_what_a_step_refuses(self):
        model = stepper("xlsr", Horizon(6))
        other = stepper("xlsr", Horizon(6))
        state, closed, ended = model.open(), model.open(), model.open()
        closed.close()
        run(model, noise(321), [(321, 0)], ended)
        samples = noise(960)
        for twos, message in [
            ([state, state], "given to two steps at once"),
            ([state, closed], "closed state"),
            ([state, ended], "ended with row 2"),
            ([state, other.open()], "another model"),
        ]:
            with pytest.raises(ModelError, match=message):
                model.step([Step(each, samples, 640) for each in twos])
        for hop in (-320, 100, 961):
            with pytest.raises(ModelError, match="whole strides"):
                model.step([Step(state, samples, hop)])
        for broken in (noise(0), noise(320)[None]):
            with pytest.raises(ModelError, match="a step must be"):
                model.step([Step(state, broken, 0)])
        assert [] == model.step([])
        assert (0, False) == (state.past, state.held)
        model.step([Step(state, samples, 640)])

    def test_a_state_that_is_closed_in_its_step_is_freed_after_it(self, monkeypatch):
        model = stepper("xlsr", Horizon(6))
        state = model.open()
        front = TorchFront.__call__

        def close(*given):
            state.close()
            place = model.open()
            assert (state.slab, state.slot) != (place.slab, place.slot)
            return front(*given)

        monkeypatch.setattr(TorchFront, "__call__", close)
        model.step([Step(state, noise(960), 960)])
        assert 0 == state.bytes
        again = model.open()
        assert (state.slab, state.slot) == (again.slab, again.slot)


class TestMemory:
    """What a state holds: 2 x layers x hidden numbers a row of left context."""

    def test_bytes_are_those_of_the_slot(self):
        module, _ = module_of("xlsr")
        state = stepper("xlsr", Horizon(50, 5, 10)).open()
        config = module.config
        past = 2 * config.num_hidden_layers * config.hidden_size * 4 * (50 + 5)
        near = (64 + 10) * config.hidden_size * 4  # the positions' 64 rows to the left
        assert past + near == state.bytes
        slab = state.slab
        tensors = (slab.past, slab.rows, slab.sums)
        assert sum(tensor.nbytes for tensor in tensors) == state.bytes
        state.close()
        assert 0 == state.bytes

    def test_it_does_not_grow(self):
        model = stepper("xlsr", Horizon(10, 0, 4))
        state = model.open()
        before = state.bytes
        run(model, noise(64_000), tiled(64_000, 1_600, 1_280), state)
        assert before == state.bytes
        assert before == model._slots.bytes

    @pytest.mark.parametrize("cache", ["bf16", "fp16"])
    def test_keys_and_values_may_be_rounded(self, cache):
        def load(precision):
            config = ModelConfig(
                name=str(checkpoint("xlsr")),
                backend="torch",
                inference="stateful",
                cache_precision=precision,
            )
            return load_model(config, WindowConfig(left_ms=1_000, right_ms=100))

        steps = tiled(32_000, 8 * STRIDE, 5 * STRIDE)
        exact, rounded = load("fp32"), load(cache)
        near = 69 * 32 * 4
        halved = (exact.open().bytes - near) / 2
        assert halved == rounded.open().bytes - near
        expected = np.concatenate(run(exact, noise(32_000), steps))
        found = np.concatenate(run(rounded, noise(32_000), steps))
        error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
        assert 0 < error < 0.02


def test_a_group_norm_without_right_context_is_not_exact():
    """The value that straddles a hop's end counts with zeros in it, one of 64 a row."""
    horizon, samples = Horizon(9), noise(20_003)
    steps = tiled(len(samples), 8 * STRIDE, 0)
    found = run(stepper("base", horizon), samples, steps)
    expected = masked_pass(*module_of("base"), horizon, samples, steps)
    assert_steps(expected[:1], found[:1])
    expected, found = np.concatenate(expected), np.concatenate(found)
    assert 1e-3 < np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)) < 0.1


def test_a_group_norm_nears_that_of_the_whole_utterance(seen):
    """Statistics are those so far: rows are told by them when they first are whole."""
    samples = noise(64_000)
    steps = tiled(len(samples), 10 * STRIDE, 10 * STRIDE)
    model = stepper("base", Horizon(500, 0, 10))
    run(model, samples, steps)
    module, geometry = module_of("base")
    padded = np.pad(samples, (0, geometry.padded(len(samples)) - len(samples)))
    with torch.inference_mode():
        body = module.wav2vec2
        features = body.feature_extractor(torch.from_numpy(padded)[None])
        expected = body.feature_projection(features.transpose(1, 2))[0][0]
    found = torch.cat([rows[:-1] for rows in seen[:-1]] + [seen[-1]])
    assert expected.shape == found.shape
    error = (found - expected).square().mean(1) / expected.square().mean(1)
    parts = [part.mean().sqrt().item() for part in error.split(50)]
    assert parts[-1] < parts[0] / 4
    assert parts[-1] < 0.03


def test_clones_take_each_others_steps():
    model = load_model(
        ModelConfig(name=str(checkpoint("xlsr")), backend="torch", inference="stateful")
    )
    samples = noise(20_003)
    steps = tiled(len(samples), 8 * STRIDE, 4 * STRIDE)
    expected = run(model, samples, steps)
    workers = [model, model.clone()]
    state, found, at = workers[1].open(), [], 0
    for i, (hop, right) in enumerate(steps):
        step = Step(state, samples[at : at + hop + right], hop)
        found += workers[i % 2].step([step])
        at += hop
    assert_steps(expected, found, atol=1e-6)
    workers[1].close()
    with pytest.raises(ModelError, match="was closed"):
        workers[1].step([Step(state, samples, 320)])
    assert_steps(expected, run(model, samples, steps), atol=1e-6)


class TestAsked:
    """When a checkpoint is run in steps, and what is refused."""

    @pytest.fixture
    def folder(self, tmp_path):
        for path in checkpoint("xlsr").iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        return tmp_path

    @pytest.mark.parametrize(
        ("metadata", "inference", "expected"),
        [
            ({}, "auto", False),
            ({"streaming": True}, "auto", True),
            ({"streaming": False}, "auto", False),
            ({"streaming": True}, "windowed", False),
            ({}, "stateful", True),
        ],
    )
    def test_auto_is_what_the_checkpoint_was_trained_for(
        self, folder, metadata, inference, expected
    ):
        write(folder / "wavestitch.json", metadata)
        model = load_model(ModelConfig(name=str(folder), inference=inference))
        assert expected is model.stateful
        if not expected:
            with pytest.raises(ModelError, match="keeps no state"):
                model.open()
            with pytest.raises(ModelError, match="keeps no state"):
                model.step([])

    def test_streaming_is_yes_or_no(self, folder):
        write(folder / "wavestitch.json", {"streaming": "yes"})
        with pytest.raises(ModelError, match="must be true or false, got 'yes'"):
            load_model(ModelConfig(name=str(folder)))

    def test_w2v_bert_runs_whole_windows_only(self):
        config = ModelConfig(name=str(checkpoint("bert")), inference="stateful")
        with pytest.raises(
            ConfigError, match=r"XLS-R, MMS\): .*bert; take inference w"
        ):
            load_model(config)

    def test_an_adapter_on_top_is_refused(self, folder):
        config = json.loads((folder / "config.json").read_text())
        write(folder / "config.json", {**config, "add_adapter": True})
        module, geometry = module_of("xlsr")
        module.config.add_adapter = True
        try:
            with pytest.raises(ConfigError, match="without an adapter on top"):
                Stepper(module, geometry, Horizon(4))
        finally:
            module.config.add_adapter = False

    def test_the_left_context_is_the_windows(self):
        config = ModelConfig(
            name=str(checkpoint("xlsr")),
            backend="torch",
            inference="stateful",
            sink_ms=40,
        )
        window = WindowConfig(left_ms=400, right_ms=160)
        state = load_model(config, window).open()
        assert (4, 1, 20 + 2, 32) == state.slab.past.shape
        assert (1, 64 + 8, 32) == state.slab.rows.shape
        # Kept context is cheap: 5.12 s unless told otherwise.
        assert 256 + 2 == load_model(config).open().slab.past.shape[2]


class TestBundled:
    """Trained weights and real speech."""

    @pytest.fixture
    def model(self):
        return load_model(ModelConfig(backend="torch", inference="stateful"))

    @pytest.fixture
    def speech(self, speech_folder):
        rows = read_manifest(speech_folder / "test" / "manifest.jsonl")
        path = next(row.path for row in rows if row.corpus == "librispeech")
        samples, rate = soundfile.read(path, frames=8 * 16_000, dtype="float32")
        assert rate == 16_000
        return normalised(samples)

    def test_steps_are_one_masked_pass(self, model, speech):
        for horizon, hop, right in [
            (Horizon(100, 0, 16), 16, 16),
            (Horizon(64, 8, 8), 32, 8),
            (Horizon(150), 25, 0),
        ]:
            steps = tiled(len(speech), hop * STRIDE, right * STRIDE)
            own = Stepper(model._module, model.geometry, horizon)
            expected = masked_pass(
                model._module, model.geometry, horizon, speech, steps
            )
            assert_steps(expected, run(own, speech, steps))

    def test_the_default_window_says_what_the_whole_pass_says(self, model, speech):
        hop, right = (
            model.geometry.samples_of_ms(320),
            model.geometry.samples_of_ms(320),
        )
        steps = tiled(len(speech), hop, right)
        rows = run(model, speech, steps)
        kept = [
            row[: model.geometry.steps(hop)]
            for row, (hop, _) in zip(rows, steps, strict=True)
        ]
        found = np.concatenate(kept).argmax(-1)
        expected = model.forward([speech])[0].argmax(-1)
        assert 0.9 < np.mean(expected == found)


def test_no_state_outgrows_its_places():
    for horizon in (Horizon(5, 2), Horizon(0, 3), Horizon(4), Horizon(0)):
        hops = [3, 9, 1, 4, 2, 7]
        places = {}
        ends = np.cumsum([0, *hops])
        for past, end in pairwise(ends):
            filled = horizon.filled(past)
            assert set(range(filled)) == set(places)
            kept = {row for row in range(past) if row < horizon.sink}
            kept |= set(range(max(0, past - horizon.left), past))
            assert kept == set(places.values())
            for row, place in zip(*horizon.written(past, end - past), strict=True):
                places[int(place)] = int(past + row)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_says_what_a_cpu_says():
    def load(device, precision):
        config = ModelConfig(
            name=str(checkpoint("xlsr")),
            backend="torch",
            inference="stateful",
            device=device,
            precision=precision,
        )
        return load_model(config, WindowConfig(left_ms=400, right_ms=160))

    cpu, gpu = load("cpu", "fp32"), load("cuda", "fp32")
    streams = [noise(16_000, i) for i in range(20)]  # three slabs: 8, 8 and 16
    steps = tiled(16_000, 8 * STRIDE, 8 * STRIDE)
    states, at = [gpu.open() for _ in streams], 0
    found = []
    for hop, right in steps:
        batch = [
            Step(state, samples[at : at + hop + right], hop)
            for state, samples in zip(states, streams, strict=True)
        ]
        found.append(gpu.step(batch))
        at += hop
    for i, samples in enumerate(streams):
        assert_steps(run(cpu, samples, steps), [rows[i] for rows in found], atol=1e-3)


@pytest.mark.slow
def test_the_full_size_is_exact_as_well():
    """XLSR-large, random weights: 24 layers of 1,024."""
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        vocab_size=32,
        hidden_size=1_024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4_096,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
    )
    module = fold_weights(transformers.Wav2Vec2ForCTC(config).eval())
    geometry, horizon, samples = Geometry(), Horizon(40, 4, 16), noise(48_000)
    steps = tiled(len(samples), 16 * STRIDE, 16 * STRIDE)
    expected = masked_pass(module, geometry, horizon, samples, steps)
    model = Stepper(module, geometry, horizon)
    assert_steps(expected, run(model, samples, steps))
    padded = np.pad(samples, (0, geometry.padded(48_000) - 48_000))
    with torch.inference_mode():
        whole = module(torch.from_numpy(padded)[None]).logits[0].numpy()
    assert_steps([whole], run(model, samples, [(48_000, 0)]))
