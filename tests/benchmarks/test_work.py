"""Operations of passes and steps, against arithmetic done by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.work import Shape, Streaming, flops
from streaming.events import Pass
from streaming.tools.playing import Ran

SEVEN = {
    "model_type": "wav2vec2",
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embedding_groups": 16,
    "num_conv_pos_embeddings": 128,
    "vocab_size": 32,
}
BASE = {**SEVEN, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
LARGE = {
    **SEVEN,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
}


@pytest.mark.parametrize(("config", "giga"), [(BASE, 14), (LARGE, 36)])
def test_work_of_a_second_of_audio(config, giga):
    assert giga * 1e9 == pytest.approx(flops(config, 16_000), rel=0.03)


def test_attention_grows_with_the_square():
    assert flops(BASE, 32 * 16_000) > 32 * flops(BASE, 16_000)


def test_work_of_an_unknown_architecture_is_its_length():
    assert 2 == flops({}, 32_000) / flops({}, 16_000)


SHAPE = Shape.of(LARGE)
ROW = 320


def step(start, hop, right):
    return Ran(Pass.STITCHED, (hop + right) * ROW, hop * ROW, start * ROW)


def test_the_shape_knows_its_rows():
    assert (320, 400) == (SHAPE.geometry.stride, SHAPE.geometry.receptive_field)
    assert Shape.of({"model_type": "wav2vec2-bert"}) is None


def test_windows_cost_a_pass_each():
    ran = [Ran(Pass.STITCHED, 30_000, 10_240), Ran(Pass.FULL, 16_000, 16_000)]
    expected = flops(LARGE, 30_000) + flops(LARGE, 16_000)
    assert expected == Streaming(LARGE).spent(ran)


def test_one_step_over_everything_costs_one_pass():
    work = Streaming(LARGE, left=512, right=16)
    assert flops(LARGE, 100 * ROW) == work.spent([step(0, 100, 0)])


def test_a_step_leaves_out_the_front_end_that_is_known_and_sees_the_past():
    work = Streaming(LARGE, left=20, right=16)
    # The last row ahead saw padding: of 16, 15 are known, and the rest is new.
    expected = SHAPE.front(32) + SHAPE.back(32)
    expected += SHAPE.front(32 - 15) + SHAPE.back(32, past=16)
    expected += SHAPE.front(32 - 15) + SHAPE.back(32, past=20)
    ran = [step(0, 16, 16), step(16, 16, 16), step(32, 16, 16)]
    assert expected == work.spent(ran)


def test_another_utterance_begins_without_a_past():
    work = Streaming(LARGE, left=20, right=16)
    ran = [step(0, 16, 16), step(16, 16, 0)]
    assert 2 * work.spent(ran) == work.spent([*ran, *ran])


def test_full_passes_of_a_stateful_model_are_whole():
    work = Streaming(LARGE, left=20, right=16)
    assert flops(LARGE, 48_000) == work.spent([Ran(Pass.FULL, 48_000, 48_000)])


@given(st.integers(1, 50), st.integers(0, 30), st.integers(2, 8))
def test_steps_never_cost_less_than_their_rows_without_a_past(hop, right, steps):
    work = Streaming(LARGE, left=512, right=right)
    ran = [step(n * hop, hop, right) for n in range(steps)]
    least = sum(SHAPE.back(hop + right) + SHAPE.front(hop) for _ in ran)
    assert least <= work.spent(ran)
    assert work.spent(ran) <= sum(
        flops(LARGE, (hop + right) * ROW) + SHAPE.back(hop + right, 512) for _ in ran
    )


def test_steps_cost_less_than_the_windows_that_they_replace():
    ran = [step(n * 16, 16, 16) for n in range(20)]
    windows = [replace(each, samples=each.samples + 64 * ROW) for each in ran]
    assert Streaming(LARGE, 512, 16).spent(ran) < Streaming(LARGE).spent(windows) / 2
