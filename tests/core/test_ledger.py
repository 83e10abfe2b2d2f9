"""The counts add up, at any rates, for any chunks, in any mix of fates."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streaming.core.ledger import Dropped, Ledger
from streaming.events import Totals

rates = st.sampled_from(
    [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000]
) | st.integers(8_000, 48_000)
fates = st.sampled_from(["decoded", "gated", "late", "failed"])
pieces = st.lists(st.integers(0, 3_000), max_size=8)


@st.composite
def streams(draw):
    """Stretches between drains: input chunks, model samples out, spans settled."""
    input_rate, model_rate = draw(rates), draw(st.sampled_from([8_000, 16_000]))
    stretches = []
    for _ in range(draw(st.integers(1, 4))):
        chunks = draw(pieces)
        exact = round(sum(chunks) * model_rate / input_rate)
        out = max(0, exact + draw(st.integers(-1, 1)))  # as a resampler may round
        ends = sorted(draw(st.lists(st.integers(0, out), max_size=5)))
        spans = [(end, draw(fates)) for end in ends] + [(out, draw(fates))]
        stretches.append((chunks, out, spans))
    return input_rate, model_rate, stretches


def settle(ledger, end, fate):
    match fate:
        case "decoded":
            ledger.decoded(end)
        case "gated":
            ledger.gated(end)
        case reason:
            ledger.dropped(end, reason)


def settled(totals):
    return totals.decoded + totals.gated + totals.dropped


def keep(stream, *, one_chunk=False, late=False, concealed=False):
    """Run a stream through a ledger; `late` settles all after the last anchor."""
    input_rate, model_rate, stretches = stream
    ledger = Ledger(input_rate, model_rate)
    base = 0
    owed = []
    for chunks, out, spans in stretches:
        for index, count in enumerate([sum(chunks)] if one_chunk else chunks):
            if concealed and index % 2:
                ledger.concealed(count)
            else:
                ledger.received(count)
        ledger.anchor(base + out)
        owed += [(base + end, fate) for end, fate in spans]
        base += out
        if not late:
            for end, fate in owed:
                settle(ledger, end, fate)
                totals = ledger.totals
                assert totals.received + totals.concealed == (
                    settled(totals) + ledger.pending
                )
                assert ledger.pending >= 0
            owed = []
    for end, fate in owed:
        settle(ledger, end, fate)
    assert not ledger.pending
    ledger.close()
    return ledger


@settings(deadline=None)
@given(streams(), st.booleans(), st.booleans())
def test_it_adds_up(stream, late, concealed):
    totals = keep(stream, late=late, concealed=concealed).totals

    expected = sum(sum(chunks) for chunks, *_ in stream[2])
    assert expected == totals.received + totals.concealed
    assert expected == settled(totals)


@settings(deadline=None)
@given(streams())
def test_neither_chunks_nor_when_spans_are_settled_matter(stream):
    assume(all(out for _, out, _ in stream[2]))  # positions tell drains apart
    expected = keep(stream)

    for other in (keep(stream, one_chunk=True), keep(stream, late=True)):
        assert expected.totals == other.totals
        assert expected.dropped_ranges == other.dropped_ranges


@settings(deadline=None)
@given(streams())
def test_dropped_ranges_are_disjoint_and_hold_what_was_dropped(stream):
    ledger = keep(stream)

    ranges = ledger.dropped_ranges
    bounds = [n for one in ranges for n in (one.start, one.end)]
    assert sorted(bounds) == bounds
    assert all(one.start < one.end for one in ranges)
    assert ledger.totals.dropped == sum(one.end - one.start for one in ranges)


@settings(deadline=None)
@given(rates, st.integers(1, 10_000_000), st.integers(1, 1_000))
def test_a_span_is_as_long_as_its_share_to_the_sample(rate, seconds, part):
    ledger = Ledger(rate, 16_000)
    ledger.received(seconds * rate)

    ledger.gated(seconds * 16_000 - part)
    ledger.decoded(seconds * 16_000)

    assert abs(part * rate / 16_000 - ledger.totals.decoded) < 1
    assert not ledger.pending


def test_spans_settled_long_after_a_drain_keep_its_anchor():
    ledger = Ledger(44_100, 16_000)
    ledger.received(1_000)
    ledger.anchor(363)  # round(362.8)
    ledger.received(1_000)
    ledger.anchor(726)

    ledger.decoded(363)
    assert Totals(2_000, decoded=1_000) == ledger.totals
    ledger.gated(400)  # 37 * 2.75625 = 101.98
    ledger.decoded(726)

    assert Totals(2_000, decoded=1_899, gated=101) == ledger.totals


def test_input_too_short_for_one_model_sample_is_settled_by_an_empty_span():
    ledger = Ledger(48_000, 16_000)
    ledger.received(1)
    ledger.anchor(0)

    ledger.gated(0)

    assert Totals(1, gated=1) == ledger.totals


def test_close_drops_what_is_pending_and_says_so():
    ledger = Ledger(8_000, 16_000)
    ledger.received(800)
    ledger.decoded(1_000)

    ledger.close("connection lost")

    assert Totals(800, decoded=500, dropped=300) == ledger.totals
    assert Dropped(500, 800, "connection lost") == ledger.dropped_ranges[-1]


def test_neighbours_of_one_reason_are_joined():
    ledger = Ledger(16_000, 16_000)
    ledger.received(100)
    for until, reason in [(10, "late"), (20, "late"), (20, "x"), (30, "failed")]:
        ledger.dropped(until, reason)
    ledger.gated(40)
    ledger.dropped(50, "failed")

    expected = [(0, 20, "late"), (20, 30, "failed"), (40, 50, "failed")]
    assert expected == [astuple(one) for one in ledger.dropped_ranges]


def test_spans_out_of_order_are_refused():
    ledger = Ledger(16_000, 16_000)
    ledger.received(100)
    ledger.decoded(50)

    with pytest.raises(ValueError, match="up to 49: spans are settled up to 50"):
        ledger.gated(49)
    with pytest.raises(ValueError, match="cannot anchor at 49"):
        ledger.anchor(49)


def test_a_closed_ledger_counts_no_more():
    ledger = Ledger(16_000, 16_000)
    ledger.received(5)
    ledger.close()

    for late in (
        lambda: ledger.received(1),
        lambda: ledger.concealed(1),
        lambda: ledger.decoded(5),
        lambda: ledger.anchor(5),
        ledger.close,
    ):
        with pytest.raises(ValueError, match="closed at input sample 5"):
            late()


def test_what_came_late_is_received_and_dropped_and_takes_no_place():
    ledger = Ledger(8_000, 16_000)
    ledger.received(100)
    ledger.concealed(60)
    ledger.late(50)
    ledger.late(10)
    ledger.anchor(320)
    ledger.decoded(320)
    ledger.close()

    expected = Totals(received=160, decoded=160, dropped=60, concealed=60)
    assert expected == ledger.totals
    assert (Dropped(160, 220, "late"),) == ledger.dropped_ranges


def test_what_its_sender_made_up_counts_as_concealed():
    ledger = Ledger(8_000, 16_000)
    ledger.received(1_000)
    ledger.made_up(160)
    ledger.decoded(2_000)
    ledger.made_up(10_000)  # more than ever came

    assert (0, 1_000, 1_000) == (
        ledger.totals.received,
        ledger.totals.concealed,
        ledger.totals.decoded,
    )
