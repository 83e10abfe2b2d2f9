"""Many processes, one page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streaming.cluster.whole import Books
from streaming.cluster.words import Report
from streaming.core.tally import EngineStats, together
from streaming.events import Pass
from streaming.server.metrics import Metrics
from streaming.server.pages import Seen
from tests.cluster.test_processes import metric

STATS = EngineStats(
    workers=1,
    busy=1,
    waiting=2,
    waiting_s=0.5,
    late_s=0.25,
    slack_s=1.0,
    passes=3,
    inference_s=0.25,
    windows=4,
    full_passes=1,
    failed=0,
    given_up=0,
    refused=0,
    cancelled=0,
    undelivered=0,
    batch_sizes=((1, 2), (2, 1)),
    windows_late=0,
    lateness_s=(0.5,),
    computed_samples=((Pass.STITCHED, 960), (Pass.FULL, 640)),
    decoded_samples=((Pass.STITCHED, 640), (Pass.FULL, 640)),
    stateful=True,
    states=2,
    state_bytes=3_000,
    state_bytes_most=2_000,
)


def ingest(received, rung=0, finals=0, status="ready"):
    metrics = Metrics()
    metrics.received.inc(received)
    metrics.streams.set(3)
    metrics.load_rung.set(rung)
    metrics.partial_latency.observe(received / 100)
    metrics.ended.labels("finished").inc(finals)
    return Report(0, seen=Seen(status, metrics.text()))


def test_counts_are_added_and_rungs_are_not():
    books = Books()
    books.enter("ingest-0", ingest(10, rung=1, finals=2))
    books.enter("ingest-1", ingest(20, rung=3))
    books.enter("engine-0", Report(0, stats=STATS))
    books.enter("engine-1", Report(0, stats=replace(STATS, inference_s=1.0)))

    page = books.seen().metrics

    for name, value in {
        "audio_received_seconds_total": 30,
        "streams_open": 6,
        "load_rung": 3,
        'sessions_ended_total{reason="finished"}': 2,
        'partial_latency_seconds_bucket{le="0.1"}': 1,
        'partial_latency_seconds_bucket{le="0.2"}': 2,
        "partial_latency_seconds_count": 2,
        "inference_workers": 2,
        "inference_seconds_total": 1.25,
        "state_bytes_most": 2_000,
        'computed_samples_total{pass="full"}': 1_280,
        "redundancy": 2.5,
        'batch_size_bucket{le="2.0"}': 6,
    }.items():
        assert value == pytest.approx(metric(page, f"wavestitch_{name}")), name


def test_a_report_replaces_the_one_before():
    books = Books()
    books.enter("ingest-0", ingest(10))
    books.enter("ingest-0", ingest(15))

    received = metric(books.seen().metrics, "wavestitch_audio_received_seconds_total")
    assert 15 == received


def test_what_the_dead_had_counted_stays_counted():
    books = Books()
    for number in (1, 2):
        books.enter("ingest-0", ingest(10, finals=number))
        books.enter("engine-0", Report(0, stats=STATS))
        books.bury("ingest-0")
        books.bury("engine-0")
    books.enter("ingest-1", ingest(1))
    books.enter("engine-1", Report(0, stats=STATS))

    page = books.seen().metrics

    for name, value in {
        "audio_received_seconds_total": 21,
        'sessions_ended_total{reason="finished"}': 3,
        "partial_latency_seconds_count": 3,
        "streams_open": 3,
        "windows_total": 12,
        "states_open": 2,
        "inference_workers": 1,
    }.items():
        assert value == metric(page, f"wavestitch_{name}"), name


def test_a_page_is_one_of_metrics_also_when_there_is_nothing():
    books = Books()
    books.hung += 1

    assert "warming up" == books.seen().status
    assert 1 == metric(books.seen().metrics, "wavestitch_processes_hung_total")


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["warming up", "ready"], "ready"),
        (["draining", "draining"], "draining"),
        ([], "warming up"),
    ],
)
def test_the_whole_is_ready_where_one_is(statuses, expected):
    books = Books()
    for number, status in enumerate(statuses):
        books.enter(number, ingest(0, status=status))

    assert expected == books.seen().status


def test_several_engines_stand_as_one():
    both = together([STATS, replace(STATS, slack_s=-1.0, batch_sizes=((2, 1), (8, 1)))])

    assert -1.0 == both.slack_s
    assert ((1, 2), (2, 2), (8, 1)) == both.batch_sizes
    assert (0.5, 0.5) == both.lateness_s
    assert 6 == both.passes
    assert {Pass.STITCHED: 1_920, Pass.FULL: 1_280} == dict(both.computed_samples)
    assert STATS.redundancy == both.redundancy
    assert both.stateful
