"""Steps through ONNX Runtime say what one masked pass of torch says."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import onnxruntime
import pytest
import soundfile
import soxr

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from streaming.cli.demo import RECORDING  # noqa: E402
from streaming.config import BUNDLED_MODEL, ModelConfig, WindowConfig  # noqa: E402
from streaming.core.normalise import normalised  # noqa: E402
from streaming.errors import ConfigError, ModelError  # noqa: E402
from streaming.models.checkpoint import read_checkpoint  # noqa: E402
from streaming.models.horizon import Horizon  # noqa: E402
from streaming.models.loading import load_model  # noqa: E402
from streaming.models.metadata import StepShape  # noqa: E402
from streaming.models.model import Step  # noqa: E402
from streaming.models.onnx import load_onnx  # noqa: E402
from streaming.models.pytorch import fold_weights, load_module  # noqa: E402
from streaming.models.stateful_onnx import StatefulOnnx, outputs  # noqa: E402
from streaming.tools.corpus import read_manifest  # noqa: E402
from streaming.tools.export import export_checkpoint  # noqa: E402
from tests.checkpoints import checkpoint, exported, noise  # noqa: E402
from tests.models.masked_pass import masked_pass  # noqa: E402

KINDS = ["xlsr", "mms", "bundled"]
STRIDE = 320
HOP, RIGHT = 16 * STRIDE, 16 * STRIDE
FAR = Horizon(left=512, right=64)
SHAPE = StepShape(layers=2, hidden=8, padding=3)


def load(kind, horizon=FAR, *, precision="fp32", cache="auto"):
    return load_onnx(
        read_checkpoint(exported(kind)),
        device="cpu",
        precision=precision,
        inference="stateful",
        horizon=horizon,
        cache=cache,
    )


def cut(samples, hop=HOP, right=RIGHT):
    """`(hop, right)` of each step over as many samples, as a stream's windows are."""
    steps, at = [], 0
    while samples - at >= hop + right:
        steps.append((hop, right))
        at += hop
    return [*steps, (samples - at, 0)] if at < samples else steps


def take(model, samples, steps, state=None):
    state = state or model.open()
    found, at = [], 0
    for hop, right in steps:
        [rows] = model.step([Step(state, samples[at : at + hop + right], hop)])
        found.append(rows)
        at += hop
    return found


@cache
def module_of(kind):
    source = read_checkpoint(checkpoint(kind))
    if kind == "mms":
        source = read_checkpoint(checkpoint(kind), language="deu")
    torch.set_num_threads(1)
    return fold_weights(load_module(source)), source.geometry


def masked(kind, horizon, samples, steps):
    module, geometry = module_of(kind)
    return masked_pass(module, geometry, horizon, samples, steps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 320, 16_000, 30_721])
def test_one_step_over_everything_is_the_whole_pass(kind, samples):
    model, window = load(kind), noise(samples)
    [step] = model.step([Step(model.open(), window, samples)])
    module, geometry = module_of(kind)
    padding = geometry.padded(samples) - samples
    with torch.inference_mode():
        whole = module(torch.from_numpy(np.pad(window, (0, padding)))[None]).logits
    np.testing.assert_allclose(step, whole[0].numpy(), atol=2e-4)
    np.testing.assert_array_equal(step, model.forward([window])[0])


@pytest.mark.parametrize(
    ("kind", "horizon", "hop", "right"),
    [
        ("xlsr", FAR, HOP, RIGHT),
        ("mms", FAR, HOP, RIGHT),
        ("bundled", FAR, HOP, RIGHT),
        ("xlsr", Horizon(left=20, sink=5, right=64), HOP, RIGHT),
        ("mms", Horizon(left=20, right=64), HOP, RIGHT),  # evicts
        ("bundled", Horizon(left=5, sink=30, right=64), HOP, RIGHT),  # less than a hop
        ("bundled", Horizon(left=0, right=64), HOP, RIGHT),
        ("bundled", Horizon(left=0, sink=3, right=64), HOP, RIGHT),
        ("xlsr", Horizon(left=40, right=0), 4 * STRIDE, 0),
        ("bundled", Horizon(left=40, right=0), 4 * STRIDE, 0),
        ("bundled", Horizon(left=40, right=64), 25 * STRIDE, 3 * STRIDE),
        ("bundled", Horizon(left=40, right=2), 3 * STRIDE, 30 * STRIDE),
    ],
)
def test_steps_are_one_masked_pass(kind, horizon, hop, right):
    samples = noise(30_123)  # the last step ends within a stride
    steps = cut(len(samples), hop, right)
    expected = masked(kind, horizon, samples, steps)
    found = take(load(kind, horizon), samples, steps)
    for row, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(row, wanted, atol=1e-4)


@settings(max_examples=15)
@given(
    hops=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6),
    last=st.integers(1, 6_000),
    left=st.integers(0, 24),
    sink=st.integers(0, 6),
    kept=st.integers(0, 12),
)
def test_hops_of_any_length_are_one_masked_pass(hops, last, left, sink, kept):
    """An utterance may end before what was right context, as a cut one does."""
    horizon = Horizon(left, sink, kept)
    steps = [(h * STRIDE, r * STRIDE) for h, r in hops if h + r] + [(last, 0)]
    total = sum(hop for hop, _ in steps)
    samples = noise(total + 12 * STRIDE)
    found = take(load("bundled", horizon), samples, steps)
    for row, wanted in zip(
        found, masked("bundled", horizon, samples, steps), strict=True
    ):
        np.testing.assert_allclose(row, wanted, atol=1e-4)


def test_the_front_end_computes_only_what_is_new(monkeypatch):
    model, lengths = load("bundled"), []
    run = model._run

    def recorded(names, feeds):
        lengths.append(feeds["samples"].shape[1])
        return run(names, feeds)

    monkeypatch.setattr(model, "_run", recorded)
    take(model, noise(HOP * 4), [(HOP, RIGHT)] * 3)
    tail = model.geometry.receptive_field - STRIDE
    # 800 samples of tail: of 16 rows of right context 14 - 1 do not change.
    assert [HOP + RIGHT + tail] + [HOP + 3 * STRIDE + tail] * 2 == lengths


@pytest.mark.parametrize(("cache", "error"), [("fp16", 2e-3), ("bf16", 1.5e-2)])
def test_a_narrow_cache_is_close_and_half_the_size(cache, error):
    samples, steps = noise(60_000), [(HOP, RIGHT)] * 10
    exact, narrow = load("bundled"), load("bundled", cache=cache)
    states = [model.open() for model in (exact, narrow)]
    pairs = zip(
        take(exact, samples, steps, states[0]),
        take(narrow, samples, steps, states[1]),
        strict=True,
    )
    for expected, found in pairs:
        scale = np.sqrt(np.mean(expected**2))
        assert np.sqrt(np.mean((found - expected) ** 2)) < error * scale
    near = 4 * 32 * (16 + 13)  # frames stay fp32
    assert (states[0].bytes - near) / 2 == states[1].bytes - near


def test_bf16_is_the_nearest():
    keeps = StatefulOnnx(SHAPE, Horizon(left=64), "bf16")
    state = keeps.open()
    rows = noise(64 * 8).reshape(64, 1, 8)
    state.move(64, 0, dict.fromkeys(outputs(SHAPE)[1:], rows), ended=False)
    fed = state.feeds(0, keeps.scratch())["past.keys.1"]
    nearest = torch.from_numpy(rows).bfloat16().float().numpy()
    np.testing.assert_array_equal(nearest, fed)


class TestTheState:
    def test_holds_what_it_says_and_no_more(self):
        horizon = Horizon(left=100, sink=10, right=4)
        keeps = StatefulOnnx(SHAPE, horizon)
        state, held = keeps.open(), []
        for hop in (16,) * 20:
            rows = np.zeros((hop + 4, 1, 8), np.float32)
            state.move(hop, 9, dict.fromkeys(outputs(SHAPE)[1:], rows), ended=False)
            held.append(state.bytes)
        a_row = 2 * 2 * 8 * 4  # two layers' keys and values
        frames = (3 + 4) * 8 * 4
        places = [(n - frames) // a_row for n in held]
        assert [64] * 4 + [110] * 16 == places
        state.close()
        assert 0 == state.bytes
        state.close()

    def test_feeds_what_it_kept_as_it_lies(self):
        keeps = StatefulOnnx(SHAPE, Horizon(left=4, sink=2))
        state = keeps.open()
        for first in range(0, 15, 3):
            rows = np.arange(first, first + 3, dtype=np.float32)
            rows = np.broadcast_to(rows[:, None, None], (3, 1, 8))
            state.move(3, 0, dict.fromkeys(outputs(SHAPE)[1:], rows), ended=False)
        feeds = state.feeds(0, None)
        keys = feeds["past.keys.0"]
        assert [0, 1, 11, 12, 13, 14] == sorted(keys[:, 0, 0])
        assert [12, 13, 14] == list(feeds["past.frames"][:, 0, 0])
        # ONNX Runtime copies what is not contiguous.
        assert all(fed.flags.c_contiguous for fed in feeds.values())
        assert keys.base is not None

    def test_is_bounded_on_a_long_utterance(self):
        horizon = Horizon(left=30, right=16)
        model = load("bundled", horizon)
        state = model.open()
        take(model, noise(HOP * 30), [(HOP, RIGHT)] * 20, state)
        a_row = 2 * 2 * 32 * 4
        assert 30 * a_row + (16 + 13) * 32 * 4 == state.bytes

    def test_belongs_to_no_worker(self):
        model = load("bundled")
        clones = [model.clone() for _ in range(4)]
        sounds = [noise(HOP * 5, seed) for seed in range(4)]
        expected = [take(model, sound, [(HOP, RIGHT)] * 4) for sound in sounds]
        states = [model.open() for _ in sounds]
        with ThreadPoolExecutor(4) as threads:
            for i in range(4):
                at = [sound[HOP * i : HOP * (i + 2)] for sound in sounds]
                found = threads.map(
                    lambda m, s, x: m.step([Step(s, x, HOP)])[0],
                    clones[i:] + clones[:i],
                    states,
                    at,
                )
                for row, rows in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(rows[i], row)

    @pytest.mark.parametrize("cache", ["fp32", "bf16"])
    def test_is_not_changed_by_neighbours(self, cache):
        model = load("bundled", precision="int8", cache=cache)
        sounds = [noise(HOP * 3, seed, gain=1 + 9 * seed) for seed in range(3)]
        alone = [take(model, sound, [(HOP, RIGHT)] * 2) for sound in sounds]
        states = [model.open() for _ in sounds]
        for i in range(2):
            batch = [
                Step(state, sound[HOP * i : HOP * (i + 2)], HOP)
                for state, sound in zip(states, sounds, strict=True)
            ]
            for row, rows in zip(model.step(batch), alone, strict=True):
                np.testing.assert_array_equal(rows[i], row)

    def test_moves_only_if_all_do(self, monkeypatch):
        model, sound = load("bundled"), noise(HOP * 4)
        expected = take(model, sound, [(HOP, RIGHT)] * 3)
        states = [model.open(), model.open()]
        for state in states:
            take(model, sound, [(HOP, RIGHT)], state)
        run, calls = model._session.run, []

        class Failing:
            def run(self, names, feeds):
                calls.append(names)
                if len(calls) == 2:
                    raise RuntimeError("no more memory")
                return run(names, feeds)

        batch = [Step(state, sound[HOP : HOP * 3], HOP) for state in states]
        with monkeypatch.context() as patch:
            patch.setattr(model, "_session", Failing())
            with pytest.raises(ModelError, match="no more memory"):
                model.step(batch)
        for row in model.step(batch):
            np.testing.assert_array_equal(expected[1], row)

    @pytest.mark.parametrize(
        ("states", "message"),
        [
            (lambda state: [state, state], "given to two steps at once"),
            (lambda state: [state.close() or state], "a closed state"),
            (lambda _: [load("bundled").open()], "a state of another model"),
        ],
    )
    def test_is_taken_by_one_step_of_its_model(self, states, message):
        model = load("bundled")
        state = model.open()
        batch = [Step(each, noise(HOP), HOP) for each in states(state)]
        with pytest.raises(ModelError, match=message):
            model.step(batch)
        if not state.hold.closed:
            take(model, noise(HOP), [(HOP, 0)], state)  # not held any more

    def test_ends_with_what_is_no_whole_stride(self):
        model = load("bundled")
        state = model.open()
        take(model, noise(1_000), [(1_000, 0)], state)
        with pytest.raises(ModelError, match="ended with row 4"):
            take(model, noise(1_000), [(1_000, 0)], state)

    def test_may_be_closed_while_it_takes_a_step(self, monkeypatch):
        model = load("bundled")
        state, run = model.open(), model._run

        def closing(names, feeds):
            state.close()
            return run(names, feeds)

        monkeypatch.setattr(model, "_run", closing)
        assert 16 == len(take(model, noise(HOP), [(HOP, 0)], state)[0])
        assert 0 == state.bytes


@pytest.mark.parametrize(
    ("samples", "hop", "message"),
    [
        (noise(0), 0, r"must be \(n,\), n > 0"),
        (noise(HOP)[None], HOP, r"must be \(n,\), n > 0"),
        (noise(HOP), HOP + 1, "a hop must be whole strides"),
        (noise(HOP), -STRIDE, "a hop must be whole strides"),
        (noise(HOP), 100, "a hop must be whole strides"),
    ],
)
def test_a_step_is_a_row_of_samples_and_whole_strides(samples, hop, message):
    model = load("bundled")
    with pytest.raises(ModelError, match=message):
        model.step([Step(model.open(), samples, hop)])


class TestWhatRuns:
    def test_windowed_unless_it_was_trained_for_steps(self, tmp_path):
        assert not load_model(ModelConfig(name=str(exported("bundled")))).stateful
        export_checkpoint(
            checkpoint("bundled"), tmp_path, name="x", language="en", streaming=True
        )
        config = ModelConfig(name=str(tmp_path))
        assert load_model(config).stateful
        assert not load_model(
            ModelConfig(name=str(tmp_path), inference="windowed")
        ).stateful

    def test_the_left_context_is_the_configured_one(self):
        config = ModelConfig(
            name=str(exported("bundled")),
            inference="stateful",
            sink_ms=40,
            cache_precision="fp16",
        )
        model = load_model(config, WindowConfig(left_ms=640, right_ms=160))
        expected = StatefulOnnx(
            StepShape(2, 32, 16), Horizon(32, sink=2, right=8, hop=24), "fp16"
        )
        found = model._keeps
        assert (expected.shape, expected.horizon, expected.cache) == (
            found.shape,
            found.horizon,
            found.cache,
        )

    @pytest.mark.parametrize("kind", ["base", "plain"])
    def test_a_graph_without_steps_says_what_has_them(self, kind, tmp_path):
        folder = exported("base")
        if kind == "plain":
            folder = tmp_path
            export_checkpoint(
                checkpoint("bundled"), folder, name="x", language="en", plain=True
            )
        assert not load_model(ModelConfig(name=str(folder), backend="onnx")).stateful
        with pytest.raises(ConfigError, match="take backend torch, or export it again"):
            load_model(
                ModelConfig(name=str(folder), backend="onnx", inference="stateful")
            )
        chosen = load_model(ModelConfig(name=str(folder), inference="stateful"))
        assert ("PytorchModel", True) == (type(chosen).__name__, chosen.stateful)

    def test_a_folder_of_before_there_were_steps_is_windowed(self, tmp_path):
        export_checkpoint(
            checkpoint("bundled"), tmp_path, name="x", language="en", plain=True
        )
        metadata = json.loads((tmp_path / "wavestitch.json").read_text())
        assert "steps" not in metadata
        del metadata["streaming"]
        (tmp_path / "wavestitch.json").write_text(json.dumps(metadata))
        model = load_model(ModelConfig(name=str(tmp_path)))
        assert (10, False) == (len(model.forward([noise(3_200)])[0]), model.stateful)
        with pytest.raises(ModelError, match="keeps no state"):
            model.open()

    @pytest.mark.parametrize(
        ("steps", "message"),
        [
            (None, "are not those that its wavestitch.json describes"),
            ({"layers": 3, "hidden": 32, "padding": 16}, "are not those that"),
            ({"layers": 2, "hidden": 16, "padding": 16}, "are not those that"),
            ({"layers": 2, "hidden": 32}, "steps must map hidden, layers, padding"),
            ({"layers": 2, "hidden": 32, "padding": True}, "above 0, got"),
            (True, "steps must map"),
        ],
    )
    def test_a_folder_that_does_not_fit_its_graph_is_refused(
        self, tmp_path, steps, message
    ):
        shutil.copytree(exported("bundled"), tmp_path, dirs_exist_ok=True)
        metadata = json.loads((tmp_path / "wavestitch.json").read_text())
        metadata["steps"] = steps
        (tmp_path / "wavestitch.json").write_text(json.dumps(metadata))
        with pytest.raises(ModelError, match=message):
            load_model(ModelConfig(name=str(tmp_path)))


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """In int8 and in fp32."""
    folder = tmp_path_factory.mktemp("exact")
    export_checkpoint(
        BUNDLED_MODEL,
        folder,
        name="x",
        language="en",
        fp16_safetensors=False,
        int8=False,
    )
    return [
        load_onnx(
            read_checkpoint(each),
            device="cpu",
            precision="auto",
            inference="stateful",
            horizon=FAR,
        )
        for each in (BUNDLED_MODEL, folder)
    ]


class TestInt8OnRealSpeech:
    """Each step has activation scales of its own, so int8 depends on the segment.

    The bound is relative to the logits' own size, and it is that of whole passes:
    what a row says in int8 depends on where its window was cut by no more than int8
    changes it anyway.
    """

    def check(self, bundled, sounds):
        steps, passes, agree, rows = [], [], 0, 0
        for sound in sounds:
            cuts = cut(len(sound))
            int8, fp32 = (np.concatenate(take(model, sound, cuts)) for model in bundled)
            steps.append(relative(int8, fp32))
            agree += np.sum(int8.argmax(1) == fp32.argmax(1))
            rows += len(int8)
            passes.append(relative(*(model.forward([sound])[0] for model in bundled)))
        assert max(steps) < 0.03
        assert np.mean(steps) < 1.5 * np.mean(passes)
        assert agree > 0.98 * rows

    def test_of_the_demo(self, bundled):
        audio, rate = soundfile.read(RECORDING, dtype="float32")
        assert 16_000 == rate
        self.check(bundled, [normalised(each) for each in np.array_split(audio, 4)])

    def test_of_people(self, bundled, speech_folder):
        rows = read_manifest(speech_folder / "test" / "manifest.jsonl")
        sounds = []
        for row in rows[:: len(rows) // 12]:
            audio, rate = soundfile.read(row.path, dtype="float32", always_2d=True)
            audio = soxr.resample(audio[: 8 * rate, 0], rate, 16_000)
            sounds.append(normalised(audio.astype(np.float32)))
        self.check(bundled, sounds)


def relative(found, expected):
    return np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))


def test_neither_rows_nor_past_are_copied_in_the_graph(tmp_path):
    """ONNX Runtime fuses every transpose of the attention with its product."""
    import onnx  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(
        exported("bundled") / "model.int8.onnx",
        options,
        providers=["CPUExecutionProvider"],
    )
    graph = onnx.load(tmp_path / "optimized.onnx").graph
    branches = [
        attribute.g
        for node in graph.node
        if node.op_type == "If"
        for attribute in node.attribute
    ]
    assert 2 * 2 == len(branches)
    for branch in branches:
        found = [node.op_type for node in branch.node]
        assert "Transpose" not in found
        assert found.count("FusedMatMul") in (2, 4)
