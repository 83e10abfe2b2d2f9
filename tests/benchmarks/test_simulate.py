"""The simulator as a program: what it prints and what it writes."""

from __future__ import annotations

import json

import pytest

from benchmarks import simulate


def test_it_prints_a_table_and_writes_everything(tmp_path, capsys):
    file = tmp_path / "found.json"

    code = simulate.main(
        [
            "--streams",
            "20",
            "60",
            "--seconds",
            "30",
            "--call-s",
            "10",
            "--json",
            str(file),
        ]
    )

    found = json.loads(file.read_text())
    assert 0 == code
    assert [20, 60] == [run["streams"] for run in found["runs"]]
    assert {0} == {run["finals_missing"] for run in found["runs"]}
    assert ("bundled", 2, 3.6) == (
        found["machine"],
        found["workers"],
        found["audio_ms"],
    )
    assert pytest.approx(1.0, abs=0.02) == sum(found["runs"][0]["rungs"].values())
    printed = capsys.readouterr().out
    assert "partial p95" in printed
    assert "finals_only" in printed


def test_a_machine_can_be_described_by_hand(tmp_path):
    file = tmp_path / "found.json"
    simulate.main(
        "--streams 10 --seconds 10 --call-s 5 --machine gpu --workers 3 --max-batch 4 "
        f"--window 0 960 320 --budget-ms 900 --json {file}".split()
    )

    found = json.loads(file.read_text())
    assert (3, 4, 8.0, 900, [0, 960, 320]) == tuple(
        found[name]
        for name in ("workers", "max_batch", "fixed_ms", "budget_ms", "window")
    )


def test_an_unknown_machine_is_a_wrong_use():
    with pytest.raises(SystemExit) as stopped:
        simulate.main(["--machine", "abacus"])

    assert 2 == stopped.value.code
