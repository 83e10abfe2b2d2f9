"""Seen in chunks, nothing later leaks; seen in full, it is transformers' own pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from streaming.core.normalise import Normaliser, normalised  # noqa: E402
from streaming.models.horizon import Horizon  # noqa: E402
from streaming.models.model import Step  # noqa: E402
from streaming.models.pytorch import fold_weights  # noqa: E402
from streaming.models.stateful_torch import Stepper  # noqa: E402
from streaming.numeric.geometry import Geometry  # noqa: E402
from streaming.tools.chunked import (  # noqa: E402
    View,
    draw_view,
    encode,
    scaled_so_far,
)
from streaming.tools.fresh import suit_cpu  # noqa: E402
from streaming.tools.recipe import Streaming  # noqa: E402

STRIDE, FIELD = 320, 1_120
BUNDLED = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": [24] * 3,
    "conv_kernel": [400, 4, 4],
    "conv_stride": [80, 2, 2],
    "num_feat_extract_layers": 3,
    "conv_bias": True,
    "num_conv_pos_embedding_groups": 4,
    "num_conv_pos_embeddings": 32,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "initializer_range": 0.3,
    "layerdrop": 0.0,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
}


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny products wait longer for each other than they take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model_of(kernel=32, *, stable=True, fused=False, **changes):
    torch.manual_seed(0)
    settings = {
        **BUNDLED,
        **changes,
        "num_conv_pos_embeddings": kernel,
        "do_stable_layer_norm": stable,
    }
    model = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**settings))
    if not fused:
        suit_cpu(model)
    return model.eval()


def sound(batch, steps):
    samples = torch.randn(batch, steps * STRIDE + FIELD - STRIDE)
    return samples, torch.full((batch,), samples.shape[1])


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View(2), ["##...", "##...", "####.", "####.", "#####"]),
        (View(2, phase=1), ["#....", "###..", "###..", "#####", "#####"]),
        (View(2, left=1), ["##...", "##...", ".###.", ".###.", "...##"]),
        (View(2, left=0, phase=1), ["#....", ".##..", ".##..", "...##", "...##"]),
        (View(1, left=2), ["#....", "##...", "###..", ".###.", "..###"]),
        (View(9, left=3), ["#####"] * 5),
    ],
)
def test_the_mask_of_a_view(view, expected):
    drawn = ["".join(".#"[int(s)] for s in row) for row in view.mask(5)]

    assert expected == drawn


views = st.builds(
    lambda chunk, left, phase: View(chunk, left, phase % chunk),
    st.integers(1, 12),
    st.none() | st.integers(0, 12),
    st.integers(0, 11),
)


@given(view=views, steps=st.integers(1, 40))
def test_a_step_sees_its_chunk_and_a_bounded_past(view, steps):
    mask = view.mask(steps)

    ends = list(range(view.chunk - view.phase, steps, view.chunk))
    starts = [0, *ends]
    for step, row in enumerate(mask):
        start = max(s for s in starts if s <= step)
        end = min([e for e in ends if e > step], default=steps)
        first = 0 if view.left is None else max(0, start - view.left)
        assert list(range(first, end)) == row.nonzero().flatten().tolist()


@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_drawn_keeps_its_bounds(seed):
    plan = Streaming(full_chance=0.3, chunk_steps=(3, 7), left_steps=(5, 5))
    view = draw_view(plan, np.random.default_rng(seed))

    if view is not None:
        assert 3 <= view.chunk <= 7
        assert view.left in (None, 5)
        assert 0 <= view.phase < view.chunk


def test_full_attention_and_unbounded_pasts_come_as_often_as_asked():
    dice = np.random.default_rng(0)
    drawn = [draw_view(Streaming(), dice) for _ in range(4_000)]
    chunked = [view for view in drawn if view]

    assert 0.4 == pytest.approx(drawn.count(None) / len(drawn), abs=0.03)
    unbounded = sum(view.left is None for view in chunked) / len(chunked)
    assert 0.25 == pytest.approx(unbounded, abs=0.03)
    assert {8, 64} <= {view.chunk for view in chunked}
    assert all(draw_view(Streaming(full_chance=1.0), dice) is None for _ in range(9))


@pytest.mark.parametrize("stable", [True, False])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kernel", [32, 15])
def test_seen_in_full_it_is_the_models_own_pass(kernel, fused, stable):
    model = model_of(kernel, stable=stable, fused=fused)
    samples, counts = sound(3, 60)
    counts[1] -= 20 * STRIDE
    samples[1, counts[1] :] = 0
    padding = torch.arange(samples.shape[1])[None] < counts[:, None]
    with torch.no_grad():
        own = model.wav2vec2(
            samples, attention_mask=padding.long(), output_hidden_states=True
        )
        last, middle = encode(model.wav2vec2, samples, counts)
        alone, _ = encode(model.wav2vec2, samples[:1])
        wide, _ = encode(model.wav2vec2, samples, counts, View(61))

    torch.testing.assert_close(own.last_hidden_state, last, atol=1e-5, rtol=0)
    torch.testing.assert_close(own.hidden_states[2], middle, atol=1e-5, rtol=0)
    torch.testing.assert_close(last[:1], alone, atol=1e-5, rtol=0)
    # One chunk over everything is everything; rows of padding aside.
    torch.testing.assert_close(last[[0, 2]], wide[[0, 2]], atol=1e-5, rtol=0)
    torch.testing.assert_close(last[1, :40], wide[1, :40], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kernel", [32, 15])
@pytest.mark.parametrize(
    "view", [View(8, 16), View(8, None, 3), View(5, 6, 4), View(2, 9, 1), View(1)]
)
def test_no_gradient_comes_from_beyond_a_chunk(view, kernel):
    model = model_of(kernel)
    samples, counts = sound(1, 40)
    samples.requires_grad_()
    out, middle = encode(model.wav2vec2, samples, counts, view)
    mask = view.mask(40)
    probe = torch.randn(32)  # a plain sum is constant after a layer norm
    for step in (0, 3, 11, 12, 25, 39):
        end = STRIDE * (int(mask[step].nonzero().max()) + 1)
        for hidden in (out, middle):
            (slope,) = torch.autograd.grad(
                hidden[0, step] @ probe, samples, retain_graph=True
            )
            assert slope[0, end - STRIDE : end].any()
            if end < 40 * STRIDE:
                assert not slope[0, end:].any()


def test_a_group_norms_front_end_is_left_whole():
    model = model_of(32, feat_extract_norm="group")
    samples, counts = sound(1, 40)
    with torch.no_grad():
        chunked, _ = encode(model.wav2vec2, samples, counts, View(8))
        whole, _ = encode(model.wav2vec2, samples, counts)
        covered, _ = encode(model.wav2vec2, samples, counts, View(40))

    assert (chunked - whole).abs().max() > 0.01
    torch.testing.assert_close(whole, covered, atol=1e-5, rtol=0)


def test_the_positional_convolution_sees_the_past_beyond_its_chunk():
    # No attention to the past: what comes from there came through the convolution.
    model = model_of(32)
    samples, counts = sound(1, 40)
    samples.requires_grad_()
    out, _ = encode(model.wav2vec2, samples, counts, View(8, 0))
    (slope,) = torch.autograd.grad(out[0, 24] @ torch.randn(32), samples)

    assert slope[0, : 24 * STRIDE].any()
    assert not slope[0, : 8 * STRIDE].any()  # 16 steps, half the kernel


@pytest.mark.parametrize("stable", [True, False])
@pytest.mark.parametrize("view", [View(16), View(16, 8, 7), View(2, 5, 1)])
def test_what_comes_later_changes_nothing(view, stable):
    """A stream that has come to a chunk's end and knows no more says the same."""
    model = model_of(32, stable=stable)
    samples, counts = sound(1, 48)
    with torch.no_grad():
        seen, _ = encode(model.wav2vec2, samples, counts, view)
        for end in range(view.chunk - view.phase, 48, view.chunk):
            so_far = torch.nn.functional.pad(
                samples[:, : end * STRIDE], (0, FIELD - STRIDE)
            )
            known, _ = encode(model.wav2vec2, so_far, None, view)
            torch.testing.assert_close(seen[:, :end], known, atol=1e-5, rtol=0)
            if end == view.chunk - view.phase:
                whole, _ = encode(model.wav2vec2, so_far)
                torch.testing.assert_close(seen[:, :end], whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stable", [True, False])
@pytest.mark.parametrize("left", [24, 5])
def test_a_chunk_is_what_a_step_without_right_context_computes(left, stable):
    """What a model is trained on is what it is served."""
    model = model_of(32, stable=stable)
    samples, counts = sound(1, 48)
    with torch.no_grad():
        last, _ = encode(model.wav2vec2, samples, counts, View(8, left))
        trained = model.lm_head(last)[0].numpy()
    stepper = Stepper(
        fold_weights(model), Geometry(16_000, STRIDE, FIELD), Horizon(left)
    )
    state = stepper.open()
    served = [
        stepper.step([Step(state, hop.numpy(), len(hop))])[0]
        for hop in samples[0, : 48 * STRIDE].split(8 * STRIDE)
    ]

    np.testing.assert_allclose(trained, np.concatenate(served), atol=1e-4)


@pytest.mark.parametrize("view", [View(8), View(8, 4, 3), View(1), View(64, None, 63)])
def test_a_chunk_is_scaled_as_a_stream_scales_it(view):
    lengths = [11_900, 5_001]
    dice = np.random.default_rng(0)
    raw = [dice.normal(0.01, 0.1, n) * np.linspace(0, 2, n) for n in lengths]
    whole = np.zeros((2, 11_900), np.float32)
    for row, each in zip(whole, raw, strict=True):
        row[: len(each)] = normalised(each.astype(np.float32))
    scaled = scaled_so_far(torch.from_numpy(whole), torch.tensor(lengths), view)

    for row, samples in zip(scaled, raw, strict=True):
        expected, seen, start = [], Normaliser(), 0
        ends = range((view.chunk - view.phase) * STRIDE, 12_000, view.chunk * STRIDE)
        for end in [*(e for e in ends if e < len(samples)), len(samples)]:
            piece = samples[start:end].astype(np.float32)
            seen, start = seen.after(piece), end
            expected.append(seen.apply(piece))
        told = np.concatenate(expected)
        # The floor under the variance is meant for speech, not for the first step.
        np.testing.assert_allclose(row[640 : len(told)], told[640:], atol=5e-3)
        assert not row[len(told) :].any()


def test_silence_is_not_blown_up():
    samples = torch.zeros(1, 6_400)
    samples[0, 3_200:] = torch.randn(3_200) * 2**0.5
    scaled = scaled_so_far(samples, torch.tensor([6_400]), View(5))

    assert torch.isfinite(scaled).all()
    assert scaled.abs().max() < 20


def test_neighbours_and_padding_change_nothing_in_chunks():
    model = model_of(32)
    samples, counts = sound(2, 60)
    counts[1] -= 45 * STRIDE  # whole chunks of padding, with nothing to see
    samples[1, counts[1] :] = 0
    view = View(8, 4, 3)
    with torch.no_grad():
        both, _ = encode(model.wav2vec2, samples, counts, view)
        alone, _ = encode(model.wav2vec2, samples[1:, : counts[1]], None, view)

    assert torch.isfinite(both).all()
    torch.testing.assert_close(both[1:, :15], alone, atol=1e-5, rtol=0)


def test_every_step_sees_something():
    """Fused attention may answer NaN for a row that sees nothing."""
    model = model_of(32, fused=True)
    samples, counts = sound(2, 60)
    counts[1] -= 45 * STRIDE
    masks = []
    model.wav2vec2.encoder.layers[0].register_forward_pre_hook(
        lambda _module, _args, given: masks.append(given["attention_mask"]),
        with_kwargs=True,
    )
    out, _ = encode(model.wav2vec2, samples, counts, View(8, 4, 3))
    out.sum().backward()

    (mask,) = masks
    assert mask.any(-1).all()
    head = model.wav2vec2.encoder.layers[0].attention.q_proj.weight
    assert torch.isfinite(head.grad).all()


@pytest.mark.parametrize("view", [None, View(8)])
def test_masking_for_training_works(view):
    model = model_of(32, mask_time_prob=0.5, mask_time_min_masks=1)
    samples, counts = sound(2, 40)
    with torch.no_grad():
        plain, _ = encode(model.wav2vec2, samples, counts, view)
        model.train()
        masked, _ = encode(model.wav2vec2, samples, counts, view)

    assert (plain - masked).abs().max() > 0.01


def test_layers_are_dropped_in_training_only():
    model = model_of(32, layerdrop=1.0, mask_time_prob=0.0)
    samples, counts = sound(1, 20)
    with torch.no_grad():
        whole, halfway = encode(model.wav2vec2, samples, counts)
        model.train()
        last, middle = encode(model.wav2vec2, samples, counts)

    torch.testing.assert_close(model.wav2vec2.encoder.layer_norm(middle), last)
    assert (whole - last).abs().max() > 0.01
    assert (halfway - middle).abs().max() > 0.01
