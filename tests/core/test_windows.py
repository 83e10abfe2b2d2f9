"""Hops tile the utterance, contexts are what they say, chunking never matters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.config import WindowConfig
from streaming.core.facts import ModelFacts
from streaming.core.normalise import normalised
from streaming.core.windows import Windower, WindowShape
from streaming.errors import ConfigError
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary

STRIDE = 4

shapes = st.builds(
    WindowShape,
    left=st.integers(0, 6).map(lambda n: n * STRIDE),
    hop=st.integers(1, 4).map(lambda n: n * STRIDE),
    right=st.integers(0, 4).map(lambda n: n * STRIDE),
)
lengths = st.integers(0, 200)
sizes = st.lists(st.integers(0, 60), max_size=20)


def audio(length):
    return np.random.default_rng(length).normal(0.01, 0.1, length).astype(np.float32)


def chunks(samples, sizes):
    """Cut samples into chunks of these sizes, the rest last."""
    at = 0
    for size in sizes:
        yield samples[at : at + size]
        at += size
    yield samples[at:]


def windows_of(shape, samples, sizes=(), normalise=False):
    windower = Windower(shape, normalise)
    windows = [w for chunk in chunks(samples, sizes) for w in windower.push(chunk)]
    return windows + windower.flush()


@settings(deadline=None)
@given(shapes, lengths, sizes)
def test_hops_tile_the_utterance(shape, length, sizes):
    samples = audio(length)

    windows = windows_of(shape, samples, sizes)

    hops = [w.samples[w.left : w.left + w.hop] for w in windows]
    assert samples.tobytes() == np.concatenate(hops).tobytes()
    starts = np.cumsum([0, *(w.hop for w in windows)]).tolist()
    assert starts == [*(w.start for w in windows), length]


@settings(deadline=None)
@given(shapes, lengths, sizes)
def test_only_the_last_window_is_last(shape, length, sizes):
    windows = windows_of(shape, audio(length), sizes)

    assert [False] * (len(windows) - 1) + [True] == [w.last for w in windows]


@settings(deadline=None)
@given(shapes, lengths, sizes)
def test_a_window_is_a_stretch_of_the_utterance(shape, length, sizes):
    samples = audio(length)

    for w in windows_of(shape, samples, sizes):
        stretch = samples[w.start - w.left : w.start + w.hop + w.right]
        assert stretch.tobytes() == w.samples.tobytes()
        assert len(w.samples) == w.left + w.hop + w.right


@settings(deadline=None)
@given(shapes, lengths, sizes)
def test_contexts_are_whole_but_at_the_ends(shape, length, sizes):
    windows = windows_of(shape, audio(length), sizes)

    for w in windows:
        assert min(shape.left, w.start) == w.left
        assert (0 if w.last else shape.right) == w.right
    assert all(w.hop == shape.hop for w in windows[:-1])
    assert all(n % STRIDE == 0 for w in windows for n in (w.left, w.start, w.right))


@settings(deadline=None)
@given(shapes, lengths)
def test_the_last_window_is_no_longer_than_the_others(shape, length):
    last = windows_of(shape, audio(length))[-1]

    assert last.hop < shape.hop + shape.right
    assert len(last.samples) <= shape.left + shape.hop + shape.right


@settings(deadline=None)
@given(shapes, lengths, sizes, st.booleans())
def test_chunking_never_matters(shape, length, sizes, normalise):
    samples = audio(length)

    whole = windows_of(shape, samples, normalise=normalise)
    chunked = windows_of(shape, samples, sizes, normalise)

    def values(windows):
        return [
            (w.samples.tobytes(), w.start, w.left, w.hop, w.right, w.last)
            for w in windows
        ]

    assert values(whole) == values(chunked)


@settings(deadline=None)
@given(shapes, lengths)
def test_a_window_leaves_as_soon_as_its_right_context_is_there(shape, length):
    windower = Windower(shape, normalise=False)

    for position in range(length):
        for w in windower.push(audio(1)):
            assert position + 1 == w.start + w.hop + w.right
        assert windower.unsent < shape.hop + shape.right


@settings(deadline=None)
@given(shapes, lengths, sizes, st.data())
def test_a_cut_equals_an_utterance_that_ended_there(shape, length, sizes, data):
    samples = audio(length)
    windower = Windower(shape, normalise=True)
    windows = [w for chunk in chunks(samples, sizes) for w in windower.push(chunk)]
    sent = length - windower.unsent
    cut = data.draw(st.integers(sent, length))

    last = windower.cut(cut)[-1]

    assert (sent, cut - sent, 0, True) == (last.start, last.hop, last.right, last.last)
    alone = normalised(samples[:cut])[sent - last.left :]
    np.testing.assert_allclose(last.samples, alone, rtol=0, atol=1e-5)
    assert sum(w.hop for w in windows) == sent


@settings(deadline=None)
@given(shapes, lengths, sizes)
def test_windows_are_scaled_by_all_up_to_their_end(shape, length, sizes):
    samples = audio(length)

    for w in windows_of(shape, samples, sizes, normalise=True):
        end = w.start + w.hop + w.right
        expected = normalised(samples[:end])[w.start - w.left :]
        np.testing.assert_allclose(w.samples, expected, rtol=0, atol=1e-5)


@settings(deadline=None)
@given(shapes, st.integers(40, 400), st.integers(1, STRIDE), st.data())
def test_a_search_before_a_cuttable_length_finds_all_unsent(
    shape, at_most, frame, data
):
    longest = shape.cuttable_length(at_most)
    assert at_most - shape.hop < longest <= at_most
    length = data.draw(st.integers(longest - frame + 1, longest))
    windower = Windower(shape, normalise=False)
    windower.push(audio(length))

    (last,) = windower.cut(length - (shape.hop + shape.right - frame))

    assert last.last


def test_a_cut_must_not_reach_into_what_was_sent():
    windower = Windower(WindowShape(8, 8, 4), normalise=False)
    windower.push(audio(20))

    with pytest.raises(ValueError, match="sample 15: hops were sent up to 16"):
        windower.cut(15)
    with pytest.raises(ValueError, match=r"sample 21: .* samples came up to 20"):
        windower.cut(21)


def test_all_sent_leaves_an_empty_hop_with_its_left_context():
    windower = Windower(WindowShape(8, 8, 4), normalise=False)
    windower.push(audio(20))

    (last,) = windower.cut(16)

    expected = (16, 8, 0, 0)
    assert expected == (last.start, last.left, last.hop, last.right)
    assert last.last
    assert audio(20)[8:16].tobytes() == last.samples.tobytes()


def test_an_ended_utterance_takes_no_more():
    windower = Windower(WindowShape(8, 8, 4), normalise=False)
    windower.push(audio(3))
    windower.flush()

    with pytest.raises(ValueError, match="ended at sample 3"):
        windower.push(audio(1))
    with pytest.raises(ValueError, match="ended at sample 3"):
        windower.flush()


@pytest.mark.parametrize("lengths", [(0, 0, 0), (-1, 4, 0), (0, 4, -1)])
def test_a_shape_that_cannot_be_is_refused(lengths):
    with pytest.raises(ConfigError, match="hop of at least 1"):
        WindowShape(*lengths)


def test_the_default_window_is_one_to_two_seconds_of_whole_strides():
    geometry = Geometry()
    facts = ModelFacts("tiny", "en", geometry, Vocabulary(("_", "a"), 0))

    shape = WindowShape.from_config(WindowConfig(), facts)

    assert WindowShape(left=19_200, hop=7_680, right=5_120) == shape
    assert 16_000 <= shape.left + shape.hop + shape.right <= 32_000
    odd = WindowShape.from_config(WindowConfig(333, 111, 77), facts)
    assert all(n % geometry.stride == 0 for n in (odd.left, odd.hop, odd.right))


def test_windows_of_a_stateful_model_have_no_left_context():
    facts = ModelFacts(
        "tiny", "en", Geometry(), Vocabulary(("_", "a"), 0), stateful=True
    )

    shape = WindowShape.from_config(WindowConfig(left_ms=2_000), facts)

    assert WindowShape(left=0, hop=7_680, right=5_120) == shape


# --- longer hops, for a while ----------------------------------------------------

switches = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 5)), max_size=12)


def switched(shape, samples, plan, normalise=False):
    """Windows of samples in chunks, each after a change of how many hops are kept."""
    windower, windows, at = Windower(shape, normalise), [], 0
    for size, hops in plan:
        windower.hops = hops
        windows += windower.push(samples[at : at + size])
        at += size
    windows += windower.push(samples[at:])
    return windows + windower.flush()


@settings(deadline=None)
@given(shapes, lengths, switches, st.booleans())
def test_hops_tile_the_utterance_however_many_a_window_keeps(
    shape, length, plan, normalise
):
    samples = audio(length)

    windows = switched(shape, samples, plan, normalise)

    starts = np.cumsum([0, *(w.hop for w in windows)]).tolist()
    assert starts == [*(w.start for w in windows), length]
    most = max([1, *(hops for _, hops in plan)])
    for w in windows:
        end = w.start + w.hop + w.right
        stretch = normalised(samples[:end], normalise)[w.start - w.left :]
        np.testing.assert_allclose(w.samples, stretch, atol=1e-5)
        assert min(shape.left, w.start) == w.left
        assert len(w.samples) <= shape.left + most * shape.hop + shape.right
    for w in windows[:-1]:
        assert 0 == w.start % shape.hop
        assert w.hop in {shape.hop * hops for hops in range(1, most + 1)}


@settings(deadline=None)
@given(shapes, st.integers(0, 200), switches)
def test_an_utterance_of_cuttable_length_can_be_cut_whatever_its_hops_were(
    shape, at_most, plan
):
    """A gate that looks for a quiet frame in the last hop + right context finds it."""
    length = shape.cuttable_length(at_most)
    samples, windower, at = audio(length), Windower(shape, False), 0
    windows = []
    for size, hops in plan:
        windower.hops = hops
        windows += windower.push(samples[at : min(at + size, length)])
        at = min(at + size, length)
    windows += windower.push(samples[at:])

    windows += windower.cut(length - shape.hop - shape.right + 1)

    assert length - shape.hop - shape.right + 1 == sum(w.hop for w in windows)


def test_a_window_keeps_as_many_hops_as_the_machine_affords():
    shape = WindowShape(left=40, hop=12, right=8)

    assert [1, 1, 1, 2, 3, 3] == [
        shape.affordable_hops(3, longest) for longest in (0, 60, 71, 72, 84, 1_000)
    ]
