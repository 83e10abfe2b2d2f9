"""Deliveries never hold up who tells, and tell what they left out."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from clients.delivery import Delivery
from clients.lines import JsonLines


class Held:
    """A receiver that takes nothing until it is let."""

    def __init__(self):
        self.let, self.asked, self.taken = threading.Event(), threading.Event(), []
        self.closed = False

    def take(self, records, stop):
        self.asked.set()
        while not self.let.wait(0.01):
            if stop.is_set():
                return len(records)
        self.taken += records
        return 0

    def close(self):
        self.closed = True


def record(number, kind="final"):
    return {"type": kind, "n": number}


def test_records_come_in_order_and_all_before_the_end():
    held = Held()
    held.let.set()
    delivery = Delivery(held)
    for number in range(500):
        delivery.put(record(number))
    delivery.close(5.0)

    assert [record(number) for number in range(500)] == held.taken
    assert held.closed
    assert 0 == delivery.lost


def test_a_full_backlog_leaves_partials_out_first_and_says_how_many():
    held = Held()
    delivery = Delivery(held, most_waiting=4)
    delivery.put(record(0))
    held.asked.wait(5.0)  # it holds the first; four more may wait
    for number, kind in enumerate(["final", "partial", "final", "final"], 1):
        delivery.put(record(number, kind))
    delivery.put(record(5))  # in place of the partial
    delivery.put(record(6))  # in place of the oldest
    held.let.set()
    delivery.close(5.0)

    expected = [0, *["gap"], 3, 4, 5, 6]
    assert expected == [each.get("n", "gap") for each in held.taken]
    assert {"type": "gap", "records": 2} in held.taken
    assert 2 == delivery.lost


def test_what_is_stuck_at_the_end_is_given_up_and_counted():
    held = Held()
    delivery = Delivery(held)
    for number in range(3):
        delivery.put(record(number))
    delivery.close(0.05)

    assert 3 == delivery.lost


def test_json_lines_are_appended_whole(tmp_path):
    path = tmp_path / "call.jsonl"
    path.write_text('{"n":0}\n')
    lines = JsonLines(str(path))
    lines.take([{"n": 1, "text": "größer"}], threading.Event())
    lines.close()

    assert [{"n": 0}, {"n": 1, "text": "größer"}] == [
        json.loads(line) for line in path.read_text("utf-8").splitlines()
    ]


def test_standard_output_stays_open(capsys):
    lines = JsonLines("-")
    lines.take([{"n": 1}], threading.Event())
    lines.close()

    assert '{"n": 1}\n' == capsys.readouterr().out
    assert not sys.stdout.closed


def test_a_file_that_cannot_be_made_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        JsonLines(str(tmp_path / "nowhere" / "call.jsonl"))
