"""The grids, and which ways one loaded model can run."""

import pytest

from benchmarks.ways import COMPARED, SHAPES, SWEEP, Way, by_model, shape, swept, ways
from streaming.config import Finals, WindowConfig
from streaming.errors import ConfigError


def way(inference, text, finals=Finals.STITCHED):
    return Way(inference, shape(text), finals)


def test_a_shape_is_left_hop_right_in_milliseconds():
    assert WindowConfig(10_240, 640, 160) == shape("10240/640/160")


@pytest.mark.parametrize("text", ["320", "1/2", "a/320/320", "1/2/3/4", ""])
def test_a_shape_that_is_none_is_said(text):
    with pytest.raises(ValueError, match="LEFT/HOP/RIGHT"):
        shape(text)


def test_a_shape_out_of_bounds_is_said():
    with pytest.raises(ConfigError, match="hop_ms must be 80"):
        shape("1280/20/320")


def test_a_way_is_called_by_its_lengths():
    assert "stateful 10240/320/160 stitched" == way("stateful", "10240/320/160").name
    usual = Way("stateful", WindowConfig(), Finals.FULL)
    assert "stateful 5120/480/320 full" == usual.name
    assert "1200/480/320" == Way("windowed", WindowConfig(), Finals.FULL).shape


@pytest.mark.parametrize("grid", [SHAPES, SWEEP, COMPARED])
def test_grids_are_shapes_without_repeats(grid):
    assert {"windowed", "stateful"} == set(grid)
    for text in grid.values():
        shapes = [shape(each) for each in text.split()]
        assert len(shapes) == len(set(shapes))


def test_the_comparison_asks_what_the_right_context_is_worth():
    for text in COMPARED.values():
        assert [0, 160, 320] == [shape(each).right_ms for each in text.split()]


def test_the_sweep_crosses_hop_and_right_context():
    found = {
        (each.window.hop_ms, each.window.right_ms)
        for each in swept("stateful")
        if each.left_ms == 10_240
    }
    assert {(hop, right) for hop in (160, 320, 640) for right in (0, 160, 320)} <= found
    lefts = {each.left_ms for each in swept("stateful")}
    assert {1_280, 2_560, 5_120, 10_240} == lefts


def test_the_sweep_makes_full_finals_once():
    for inference in SWEEP:
        first, *others = swept(inference)
        assert Finals.FULL is first.finals
        assert {Finals.STITCHED} == {each.finals for each in others}
        assert first.shape == others[0].shape


def test_every_shape_has_every_kind_of_finals():
    shapes = [shape("1280/320/320"), shape("1280/640/320")]
    found = ways("windowed", shapes, [Finals.FULL, Finals.STITCHED])
    assert 4 == len(set(found))


def test_windowed_ways_share_a_model_and_stateful_ones_where_the_horizon_is_the_same():
    asked = [
        way("stateful", "10240/320/320"),
        way("windowed", "1280/320/320"),
        way("stateful", "5120/320/320"),
        way("stateful", "10240/640/320", Finals.FULL),
        way("windowed", "640/320/0"),
        way("stateful", "10240/320/160"),
    ]
    found = by_model(asked)
    places = [[asked.index(each) for each in group] for group in found]
    assert [[0, 3], [1, 4], [2], [5]] == places
