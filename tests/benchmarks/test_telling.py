"""From counts to named numbers, pools and tables."""

import io

import pytest
from rich.console import Console

from benchmarks.accuracy_tables import accuracy_tables
from benchmarks.counting import Counted, pooled
from benchmarks.measures import Churn
from benchmarks.samples import DOMAIN, SETS
from benchmarks.telling import compared, measured, pools, told_errors, told_way
from benchmarks.ways import Way, shape
from streaming.config import Finals
from streaming.numeric.wer import BorderErrors, WordErrors

DEMO, READ = "demo (synthetic)", "librispeech"
WAY = Way("stateful", shape("10240/320/160"), Finals.STITCHED)


def errors(*pairs):
    found = WordErrors()
    for expected, heard in pairs:
        found.add(expected, heard)
    return found


def counted(expected, streamed, spans, **more):
    return Counted(
        errors((expected, streamed)),
        errors((expected, spans)),
        errors((expected, expected)),
        **more,
    )


def test_the_domain_is_test_sets():
    assert set(DOMAIN) < set(SETS)


@pytest.mark.parametrize(
    ("corpora", "expected"),
    [
        ([DEMO, READ], {"domain": [DEMO], "all": [DEMO, READ]}),
        ([DEMO], {"domain": [DEMO]}),
        ([READ], {"all": [READ]}),
    ],
)
def test_a_pool_is_not_told_twice(corpora, expected):
    assert expected == pools(corpora)


def test_the_domain_is_pooled_apart_from_open_speech():
    found = told_errors(
        {
            DEMO: errors(("one two three", "one two")),
            READ: errors(("it was late", "a bat")),
        }
    )
    assert 1 / 3 == found["pooled"]["domain"]["wer"]
    assert 4 / 6 == found["pooled"]["all"]["wer"]
    assert 1.0 == found["by_corpus"][READ]["wer"]


def test_pooling_adds_up_and_leaves_the_parts_alone():
    one = counted(
        "a b", "a", "a b", churn=Churn(2, 1), emission=[0.1], work=6.0, least_work=2.0
    )
    other = counted(
        "c d",
        "c d",
        "c d",
        churn=Churn(2, 0),
        emission=[0.3],
        work=2.0,
        least_work=2.0,
        computed=30,
        decoded=20,
        borders=BorderErrors(2, lost=1),
    )
    one.made_by["full"] += 1
    other.made_by["full"] += 2
    found = measured(pooled([one, other]))
    assert 0.25 == found["wer"]["wer"]
    assert 0.25 == found["gap_spans"][0] == found["gap_whole"][0]
    assert (2.0, 1.5, 0.25) == (
        found["redundancy"],
        found["redundancy_samples"],
        found["upwr"],
    )
    assert {"of": 2, "p50": 0.1, "p95": 0.3, "p99": 0.3} == found["emission_s"]
    assert {"full": 3} == found["finals_made_by"]
    assert 0.5 == found["borders"]["lost"]
    assert (1, [0.1]) == (len(one.streamed), one.emission)


def test_after_less_before_is_the_difference_over_each_pool():
    before = {DEMO: errors(("a b", "a")), READ: errors(("c d", "x y"))}
    after = {DEMO: errors(("a b", "a b")), READ: errors(("c d", "x y"))}
    found = compared(before, after)
    assert (-0.5, -0.25) == (found["domain"][0], found["all"][0])


def object_of(*by_ways):
    return {
        "audio_s": 90.0,
        "model": "m",
        "offline": told_errors({DEMO: errors(("a b", "a b"))}),
        "ways": [told_way(way, {DEMO: each}) for way, each in by_ways],
    }


def printed(found):
    out = io.StringIO()
    accuracy_tables(Console(file=out, width=200), found)
    rows = [line for line in out.getvalue().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("| ").split("|")] for row in rows]


def test_a_row_for_each_way():
    found = object_of((WAY, counted("a b", "a", "a b", work=3.0, least_work=2.0)))
    heads, _, words, offline, way, measures, _, row = printed(found)
    assert ["WER", DEMO, "domain, pooled (95 %)"] == heads
    assert (["words", "2", "2"], "0.00%") == (words, offline[1])
    assert ["stateful 10240/320/160 stitched", "50.00%"] == way[:2]
    told = dict(zip(measures, row, strict=True))
    assert "stateful 10240/320/160 stitched" == told["domain, pooled"]
    assert "1.50" == told["redundancy"]
    assert told["gap, same spans (95 %)"].startswith("+50.00")
    assert "-" == told["emission p50"] == told["calibration"]


def test_two_checkpoints_stand_beside_each_other():
    before, after = counted("a b", "a", "a b"), counted("a b", "a b", "a b")
    found = object_of((WAY, before)) | {"against": object_of((WAY, after))}
    found["differences"] = {
        "offline": {"domain": (0.0, 0.0, 0.0)},
        "ways": [compared({DEMO: before.streamed}, {DEMO: after.streamed})],
    }
    *_, offline, way = printed(found)
    assert ["offline", "0.00%", "0.00%", "+0.00 (+0.00 to +0.00)"] == offline[:4]
    assert ["50.00%", "0.00%"] == way[1:3]
    assert way[3].startswith("-50.00")
    assert "50.00% 0.00%" == way[4]
