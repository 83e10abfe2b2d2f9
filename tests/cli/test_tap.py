"""`wavestitch tap` takes one source, and says what is wrong with any other."""

from __future__ import annotations

import json

import pytest

from streaming.cli import main
from tests.live import serving
from tests.protocols.calls import pcap
from tests.recorded_calls import call


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give one of"),
        (["--rtp", ":5004", "--audiosocket", ":9092"], "give one of"),
        (["--rtp", ":1", "--rtp", ":2", "--rtp", ":3"], "given twice"),
        (["--rtp", "nowhere"], "must be HOST:PORT, got 'nowhere'"),
        (["--rtp", ":1", "--payload", "96=opus/48000"], "must be like 96=L16/16000"),
        (["--rtp", ":1", "--depth-ms", "-1"], "depth-ms"),
    ],
)
def test_wrong_usage_is_named(capsys, arguments, said):
    assert 2 == main(["tap", *arguments])
    assert said in capsys.readouterr().err


def test_a_capture_goes_to_standard_output_as_json(capsys, tmp_path):
    (tmp_path / "call.pcap").write_bytes(pcap(call()))
    with serving() as url:
        capture = str(tmp_path / "call.pcap")
        status = main(["tap", "--capture", capture, "--json", "-", "--url", url])
    out, err = capsys.readouterr()

    records = [json.loads(line) for line in out.splitlines()]
    turns = [record for record in records if record["type"] == "turn"]
    assert 0 == status
    assert 3 == len(turns)
    assert all(turn["text"] in err for turn in turns)


def test_what_cannot_be_read_is_one_line(capsys, tmp_path):
    assert 1 == main(["tap", "--capture", str(tmp_path / "none.pcap")])
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot read" in line
