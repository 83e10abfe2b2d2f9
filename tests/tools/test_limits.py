"""Measured limits hold for what they were measured with, and come back as written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streaming.config import Config, EngineConfig, ModelConfig
from streaming.errors import ConfigError
from streaming.tools.limits import (
    Limits,
    default_path,
    described,
    differences,
    limits_for,
    read_limits,
    write_limits,
)
from streaming.tools.machine import BusyWatch, Elsewhere, Machine, this_machine

HERE = {"machine": "two cores", "model": "bundled 0123"}
ELSEWHERE = HERE | {"model": "other 4567"}
LIMITS = Limits(HERE, "2026-11-21", 90, 36)
MACHINE = Machine("EPYC", 2)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "deep" / "limits.json"
    write_limits(path, LIMITS)

    assert [LIMITS] == read_limits(path)
    assert LIMITS == limits_for(path, HERE)
    assert ["limits.json"] == [left.name for left in path.parent.iterdir()]


def test_another_model_has_limits_of_its_own(tmp_path):
    path = tmp_path / "limits.json"
    other = replace(LIMITS, holds_for=ELSEWHERE, max_streams=7)
    newer = replace(LIMITS, max_streams=80)
    write_limits(path, LIMITS)

    assert limits_for(path, ELSEWHERE) is None
    write_limits(path, other)
    write_limits(path, newer)
    assert [newer, other] == read_limits(path)


def test_what_differs_is_named():
    assert "" == differences(HERE, dict(HERE))
    said = differences(HERE, ELSEWHERE)
    assert "model is 'other 4567', measured was 'bundled 0123'" == said


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2, "limits": []}', '{"format": 1}']
)
def test_a_file_that_is_none_of_ours_is_named_and_kept(tmp_path, text):
    path = tmp_path / "limits.json"
    path.write_text(text)

    with pytest.raises(ConfigError, match=str(path)):
        read_limits(path)
    with pytest.raises(ConfigError, match=str(path)):
        write_limits(path, LIMITS)
    assert text == path.read_text()


CHANGED = [
    ("inference", replace(Config(), model=ModelConfig(precision="fp32"))),
    ("inference", replace(Config(), engine=EngineConfig(workers=1))),
    ("streams", replace(Config(), stream=replace(Config().stream, budget_ms=900))),
]


@pytest.mark.parametrize(("what", "config"), CHANGED)
def test_every_setting_that_costs_time_counts(what, config):
    here, there = described(Config(), MACHINE), described(config, MACHINE)
    assert [what] == [name for name in here if here[name] != there[name]]


def test_another_machine_is_another_matter():
    here = described(Config(), MACHINE)
    there = described(Config(), Machine("EPYC", 4))
    assert ["machine"] == [name for name in here if here[name] != there[name]]


def test_a_model_is_known_by_its_files_and_a_hub_id_by_its_revision(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"a" * 5_000_000)
    config = Config(model=ModelConfig(str(folder)))
    first = described(config, MACHINE)["model"]
    assert first == described(config, MACHINE)["model"]
    assert first.startswith("mine ")

    (folder / "model.safetensors").write_bytes(b"a" * 4_999_999 + b"b")
    assert first != described(config, MACHINE)["model"]

    hub = Config(model=ModelConfig("facebook/mms-1b-all", revision="abc"))
    assert "facebook/mms-1b-all@abc" == described(hub, MACHINE)["model"]


def test_the_users_folder_for_settings():
    home = default_path({"XDG_CONFIG_HOME": "/somewhere"})
    assert "/somewhere/wavestitch/limits.json" == str(home)
    assert default_path({}).parts[-3:] == (".config", "wavestitch", "limits.json")


# --- the machine ---------------------------------------------------------------


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: AMD EPYC 9B45\n")
    told = tmp_path / "driver/nvidia/gpus/0000:01:00.0"
    told.mkdir(parents=True)
    (told / "information").write_text("Model: \t\t NVIDIA H200\nIRQ: 7\n")
    return tmp_path


def test_the_machine_says_what_it_is(proc, tmp_path_factory):
    found = this_machine(proc)
    assert ("AMD EPYC 9B45", ("NVIDIA H200",)) == (found.processor, found.gpus)
    assert found.cores >= 1
    assert () == this_machine(tmp_path_factory.mktemp("empty")).gpus


def test_what_others_take_is_told_from_what_we_take(proc, monkeypatch):
    now = {"wall": 100.0}
    monkeypatch.setattr("time.monotonic", lambda: now["wall"])
    monkeypatch.setattr("os.sysconf", lambda _: 100)
    own = {"user": 5.0}
    monkeypatch.setattr("os.times", lambda: _Times(own["user"]))
    stat = proc / "stat"
    stat.write_text("cpu  1000 0 0 5000 0 0 0 0 0 0\ncpu0 1 1\n")
    watch = BusyWatch(proc)
    # Ten seconds: 8 s of users of which 3 s ours, 2 s of the system's, 1 s stolen.
    now["wall"], own["user"] = 110.0, 8.0
    stat.write_text("cpu  1800 0 200 5900 0 0 0 100 0 0\ncpu0 1 1\n")

    found = watch.elsewhere()

    assert pytest.approx(0.7) == found.others
    assert pytest.approx(0.1) == found.stolen
    assert found.much
    assert not Elsewhere().much


def test_without_proc_nothing_is_said(tmp_path):
    assert Elsewhere() == BusyWatch(tmp_path).elsewhere()


class _Times:
    system = 0.0

    def __init__(self, user):
        self.user = user
