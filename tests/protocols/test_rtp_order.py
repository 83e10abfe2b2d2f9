"""Whatever the network does within the depth, packets come out in order, once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streaming.protocols.rtp import RtpPacket
from streaming.protocols.rtp_order import Order

DEPTH_S = 0.1


def packet(sequence):
    return RtpPacket(0, False, sequence % 65_536, 0, 1, b"")


def run(arrivals):
    """Sequence numbers as they come out, losses, and the order itself."""
    order, out = Order(DEPTH_S), []
    for at, sequence in arrivals:
        while (due := order.wake_at()) is not None and due < at:
            out += order.wake(due)
        out += order.push(packet(sequence), at)
    out += order.drain()
    return [each.packet.sequence for each in out], [each.lost for each in out], order


@given(
    st.integers(0, 65_535),
    st.lists(st.floats(0, DEPTH_S * 0.99), min_size=1, max_size=60),
    st.data(),
)
def test_any_delay_and_doubling_within_the_depth_changes_nothing(first, delays, data):
    arrivals = [(0.02 * n + delay, first + n) for n, delay in enumerate(delays)]
    again = data.draw(st.lists(st.sampled_from(arrivals), max_size=10))
    arrivals = sorted(arrivals + again)

    numbers, lost, order = run(arrivals)

    assert [(first + n) % 65_536 for n in range(len(delays))] == numbers
    assert [0] * len(delays) == lost
    assert len(again) == order.counts.duplicates
    assert 0 == order.counts.late


@given(
    st.integers(0, 65_535),
    st.sets(st.integers(1, 58), max_size=30),
)
def test_what_never_came_is_counted_where_it_is_missing(first, gone):
    kept = [n for n in range(60) if n not in gone]
    numbers, lost, order = run([(0.02 * n, first + n) for n in kept])

    assert [(first + n) % 65_536 for n in kept] == numbers
    assert [b - a - 1 for a, b in zip([-1, *kept], kept, strict=False)] == lost
    assert len(gone) == order.counts.lost


def test_in_order_nothing_waits_but_the_first():
    order = Order(DEPTH_S)

    assert [] == order.push(packet(5), 0.0)
    assert DEPTH_S == order.wake_at()
    assert 1 == len(order.wake(DEPTH_S))
    assert 1 == len(order.push(packet(6), 0.11))
    assert order.wake_at() is None


def test_behind_a_gap_packets_wait_for_the_depth_and_no_longer():
    order = Order(DEPTH_S)
    order.push(packet(0), 0.0)
    order.wake(DEPTH_S)

    assert [] == order.push(packet(2), 0.2)
    assert [] == order.wake(0.29)
    (given_up,) = order.wake(order.wake_at())
    assert (2, 1) == (given_up.packet.sequence, given_up.lost)
    assert [] == order.push(packet(1), 0.35)
    assert 1 == order.counts.late


def test_a_sender_that_begins_anew_is_followed():
    numbers, _, order = run(
        [(0.0, 100), (0.02, 101), (0.04, 40_000), (0.06, 40_001), (0.08, 40_002)]
    )

    assert [100, 101, 40_000, 40_001, 40_002] == numbers
    assert (0, 0) == (order.counts.late, order.counts.lost)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 65_535)), max_size=80))
def test_every_packet_is_handed_on_or_counted(arrivals):
    numbers, _, order = run(sorted(arrivals))

    counts = order.counts
    assert counts.received == len(numbers) + counts.duplicates + counts.late
