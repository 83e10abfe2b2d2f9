"""`wavestitch capacity` from end to end, and `serve` going by what it wrote."""

from __future__ import annotations

import json

import pytest

from streaming.cli import main
from streaming.cli.settings import from_toml, merge

# Short windows, so that half a second holds some.
SHORT = ("--set", "stream.window.hop_ms=160", "--set", "stream.window.right_ms=160")
ROW = {
    "duty": float,
    "streams": int,
    "efficiency": float,
    "wait_s": dict,
    "windows": int,
    "final_p95_s": float | None,
    "redundancy": float,
    "utilisation": float,
    "front_end_cores": float,
    "decoded_share": float,
    "finals": int,
    "finals_full": int,
    "finals_missing": int,
    "audio_loss": int,
    "ladder": str,
    "state_bytes_a_stream": int,
    "elsewhere": dict,
    "trials": list,
}


@pytest.fixture
def call(capfd, monkeypatch, tmp_path):
    """Run a command in this process, with no settings of the user's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("WAVESTITCH_LIMITS", raising=False)

    def called(*arguments):
        status = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return status, out, err

    return called


def test_what_is_measured_becomes_what_serve_goes_by(call, tmp_path):
    budget = ("--set", "stream.budget_ms=60000")  # this machine may be busy
    status, out, err = call(
        "capacity", "--seconds", 0.6, "--most", 2, "--json", *SHORT, *budget
    )
    found = json.loads(out)

    assert 0 == status, err
    assert [1.0, 0.4] == [row["duty"] for row in found["rows"]]
    for row in found["rows"]:
        assert {name: row[name] for name in ROW} == row
        assert all(isinstance(row[name], kind) for name, kind in ROW.items())
        assert (0, 0) == (row["audio_loss"], row["finals_missing"])
    assert found["rows"][0]["windows"] > 0
    assert found["bare_streams"] > 0
    path = tmp_path / "config" / "wavestitch" / "limits.json"
    held = {"path": str(path), "max_streams": 2, "max_speaking_streams": 2}
    assert held == found["limits"]

    status, out, _ = call("serve", "--print-config", *SHORT, *budget)
    origin = f"# limits.max_streams = 2: wavestitch capacity on {found['measured_on']}"
    assert out.startswith(origin)
    assert str(path) in out.partition("[server]")[0]
    assert 2 == merge(from_toml(out, "out")).limits.max_streams

    # What the user says goes over it.
    status, out, _ = call(
        "serve", "--print-config", *SHORT, *budget, "--set", "limits.max_streams=0"
    )
    assert 0 == merge(from_toml(out, "out")).limits.max_streams
    assert "limits.max_streams" not in out.partition("[server]")[0]

    # Another budget is another matter: not used, and said so; an error where insisted.
    status, out, _ = call("serve", "--print-config", *SHORT)
    assert 0 == merge(from_toml(out, "out")).limits.max_streams
    assert "do not hold here: streams is" in out.partition("[server]")[0]
    status, out, err = call("serve", "--print-config", "--limits", path)
    assert (2, "") == (status, out)
    assert "do not hold here: streams is" in err


def test_limits_that_are_insisted_on_must_be_there(call, tmp_path):
    status, _, err = call("serve", "--print-config", "--limits", tmp_path / "none")
    assert 2 == status
    assert "cannot read limits" in err


def test_without_limits_nothing_is_said(call):
    status, out, err = call("serve", "--print-config")
    assert (0, "") == (status, err)
    assert out.startswith("[server]")
