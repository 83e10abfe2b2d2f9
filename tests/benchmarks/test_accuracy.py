"""The program itself, on the recording that the project carries."""

import json

import pytest

from benchmarks.accuracy import main

DEMO = "demo (synthetic)"


def test_the_program_hears_the_demo_both_ways(tmp_path, capsys, monkeypatch):
    # Warming up with noise costs seconds.
    for timed in ("time_passes", "time_steps"):
        monkeypatch.setattr(
            f"streaming.engine.warmth.{timed}", lambda *_: [(16_000, 1, 0.01)]
        )
    path = tmp_path / "found.json"
    options = "--inference windowed stateful --shapes 1280/640/320 --finals stitched"
    main(["--corpora", DEMO, "--json", str(path), *options.split()])
    found = json.loads(path.read_text())
    windowed, stateful = found["ways"]
    assert ["windowed", "stateful"] == [windowed["inference"], stateful["inference"]]
    for way in found["ways"]:
        told = way["pooled"]["domain"]
        assert 33 == told["wer"]["words"]
        assert 0 == told["audio_loss"]
        assert told["wer"]["wer"] < 0.5
    ratios = [way["pooled"]["domain"]["redundancy"] for way in found["ways"]]
    assert 2.0 < ratios[0] < 3.2
    assert 1.1 < ratios[1] < 1.6
    assert "stateful 1280/640/320 stitched" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["--sweep", "--shapes", "1280/320/320"],
        ["--sweep", "--against", "elsewhere"],
        ["--shapes", "1280/320"],
        ["--corpora", "nothing"],
    ],
)
def test_options_that_do_not_go_together_are_said(options, capsys):
    with pytest.raises(SystemExit):
        main(options)
    assert "error:" in capsys.readouterr().err
