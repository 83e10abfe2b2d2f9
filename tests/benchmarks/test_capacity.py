"""What the capacity and memory benchmarks make of what they measured."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from io import StringIO
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks.capacity import Round, _beside, _row, _told, redundancy
from benchmarks.carried import capacity_tables
from benchmarks.contenders import QUICK, WAYS
from benchmarks.memory import growth
from benchmarks.overload import Offered
from benchmarks.plots import line_plot
from benchmarks.shapes import SHAPES, shape_of
from streaming.config import BUNDLED_MODEL, ModelConfig
from streaming.events import Pass
from streaming.models.loading import load_model
from streaming.tools.outcome import Outcome
from streaming.tools.playing import Ran
from tests.checkpoints import noise

ARCHITECTURE = json.loads((BUNDLED_MODEL / "config.json").read_text())
STATEFUL = next(way for way in WAYS if way.name == "bundled stateful")
WINDOWED = next(way for way in WAYS if way.name == "bundled windowed")
OPTIONS = Namespace(seconds=8.0, message_ms=20, finals="auto")


def utterance(hops, left=0, right=3_840, hop=7_680):
    windows = [
        Ran(Pass.STITCHED, min(n * hop, left) + hop + right, hop, n * hop)
        for n in range(hops - 1)
    ]
    last = (hops - 1) * hop
    return (*windows, Ran(Pass.STITCHED, min(last, left) + hop, hop, last))


def of(*streams):
    waits = (0.1,) * 100
    return Outcome(2, waits=waits, utterances=2, finals=2, passes=streams)


def test_one_window_over_everything_has_no_redundancy():
    whole = (Ran(Pass.STITCHED, 16_000, 16_000),)
    assert pytest.approx(1.0) == redundancy(ARCHITECTURE, of(whole), WINDOWED)


def test_a_full_pass_counts_as_one_more():
    whole = (Ran(Pass.STITCHED, 16_000, 16_000), Ran(Pass.FULL, 16_000, 16_000))
    assert pytest.approx(2.0) == redundancy(ARCHITECTURE, of(whole), WINDOWED)


def test_steps_cost_hop_and_right_context_and_windows_the_left_one_too():
    steps = redundancy(ARCHITECTURE, of(utterance(20), utterance(20)), STATEFUL)
    windows = redundancy(ARCHITECTURE, of(*[utterance(20, left=20_480)] * 2), WINDOWED)
    assert 1.2 < steps < 1.5
    assert 3.0 < windows < 4.5


def told(**more):
    rounds = [
        Round(100.0, streams + 10, streams, of(utterance(4)), 1.5, 2.0)
        for streams in (50, 60, 55)
    ]
    rows = [_row(STATEFUL, rounds) | more]
    _beside(rows, {"bundled, trained": {"fp32": 5.0, "int8": 11.0, "sherpa-onnx": 9.0}})
    offered = Offered(82, 49, 33, 0, 900, 0.1, 0.3, 0.6, 200, 0, 0, 0, 500)
    return _told(rows, offered, OPTIONS)


def test_the_object_holds_what_is_promised():
    found = json.loads(json.dumps(told()))

    promised = (
        "streams pipeline_streams ratio efficiency redundancy audio_loss machine "
        "versions commit rows overload"
    ).split()
    assert set(promised) <= set(found)
    assert (55, 5.0, 11.0) == (
        found["streams"],
        found["pipeline_streams"],
        found["ratio"],
    )
    assert pytest.approx(0.65) == found["efficiency"]
    assert pytest.approx(5.0) == found["rows"][0]["ratio_equal_precision"]


@pytest.mark.parametrize("more", [{}, {"state_mb_a_stream": None, "streams": 0}])
def test_the_table_has_a_row_for_each_way(more):
    page = StringIO()
    capacity_tables(Console(file=page, width=200), told(**more))
    assert "bundled stateful (onnx int8)" in page.getvalue()
    assert "49 admitted, 33 refused, 0 failed" in page.getvalue()


def test_ways_keep_to_the_hops_that_their_budgets_allow():
    for way in WAYS:
        assert way.window.hop_ms <= {500: 500, 1_000: 1_000}[way.budget_ms]
    assert set(QUICK) <= {way.name for way in WAYS}
    assert {way.shape for way in WAYS} - {None} == set(SHAPES)


def test_a_shape_is_made_once_and_hears_blanks(tmp_path, monkeypatch):
    small = {
        **SHAPES["xlsr"],
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": [16] * 7,
    }
    monkeypatch.setitem(SHAPES, "small", small)

    folder = shape_of("small", tmp_path)
    model = load_model(ModelConfig(str(folder), inference="stateful"))
    [rows] = model.forward([noise(16_000)])

    assert {0} == set(rows.argmax(axis=1))
    assert ["small"] == [each.name for each in tmp_path.iterdir()]
    (folder / "model.int8.onnx").unlink()
    assert folder == shape_of("small", tmp_path)


# --- memory ------------------------------------------------------------------


def test_growth_leaves_the_warm_up_out():
    flat = [(at, 100.0 + max(0, 20 - at)) for at in range(101)]
    rising = [(at, 100.0 + at) for at in range(101)]
    assert growth(flat) == (100.0, 100.0)
    assert growth(rising) == (137.5, 187.5)


def test_a_plot_is_drawn_from_zero():
    drawn = line_plot("MB & more", "minutes", "MB", [(0, 90), (1, 95), (2, 93)])
    root = ElementTree.fromstring(drawn)
    texts = [each.text for each in root.iter() if each.text and each.text.strip()]
    assert {"MB & more", "0", "100", "minutes"} <= set(texts)


def test_a_hopeless_way_has_a_row_too():
    row = _row(STATEFUL, [Round(100.0, 0, 0, replace(of(), waits=()), 0.0, None)])
    assert (0, None) == (row["streams"], row["wait_s"]["p95"])
