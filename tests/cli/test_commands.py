"""The commands as a user meets them: help, exit codes, errors of one line."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tomllib

import pytest

from streaming import __version__
from streaming.cli import COMMANDS, main
from streaming.cli.settings import from_toml, merge
from streaming.config import Config
from tests.checkpoints import exported
from tests.conftest import ROOT

NAMES = [command.__name__ for command, _ in COMMANDS]


def run(*arguments, environment=None):
    return subprocess.run(
        [sys.executable, "-m", "streaming", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def call(capfd):
    """Run a command in this process: its status, output and errors."""

    def called(*arguments):
        status = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return status, out, err

    return called


def test_the_commands_of_this_version():
    assert [
        "demo",
        "serve",
        "keys",
        "transcribe",
        "capacity",
        "mic",
        "tap",
        "train",
        "evaluate",
        "export",
        "quantize",
        "models",
    ] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_help_with_an_example(call, name):
    status, out, err = call(name, "--help")

    assert (0, "") == (status, err)
    assert f"Usage: wavestitch {name}" in out
    assert f"Example: wavestitch {name}" in out


def test_help_names_every_command_in_full(call):
    status, out, _ = call("--help")

    assert 0 == status
    assert not [x for x in out.splitlines()[1:] if x.endswith("...")]
    for name in NAMES:
        assert f"\n  {name} " in out


def test_no_command_is_wrong_usage_and_shows_the_help(call):
    status, out, _ = call()

    assert 2 == status
    assert "Commands:" in out


def test_the_version(call):
    assert (0, f"wavestitch {__version__}\n", "") == call("--version")


def test_help_imports_no_runtime_and_no_server():
    code = (
        "import sys; from streaming.cli import main; main(['--help']); "
        "print([m for m in ('torch', 'transformers', 'onnxruntime', 'websockets',"
        " 'numpy', 'rich', 'streaming.app') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "[]" == done.stdout.splitlines()[-1]


def named(table):
    return [" ".join(arguments)[:40] for arguments, _ in table]


WRONG = [
    (["nosuch"], "No such command 'nosuch'; see wavestitch --help"),
    (["serve", "--prot", "1"], "No such option: --prot"),
    (["serve", "--port", "x"], "see wavestitch serve --help"),
    (["serve", "--port", "70000"], "--port: server.port must be 0 to 65535, got 70000"),
    (["serve", "--set", "server.port"], "--set takes KEY=VALUE"),
    (["serve", "--set", "x.y=1"], "--set: unknown setting x"),
    (["serve", "--config", "/no/such.toml"], "cannot read /no/such.toml: No such file"),
    (["serve", "more"], "see wavestitch serve --help"),
    (["transcribe"], "see wavestitch transcribe --help"),
    (["transcribe", "/no/such.wav"], "see wavestitch transcribe --help"),
    (["transcribe", "--format", "doc", __file__], "see wavestitch transcribe --help"),
    (
        ["transcribe", "--format", "srt", __file__, __file__],
        "srt takes one file, got 2",
    ),
    (["evaluate", "/no/such.jsonl"], "see wavestitch evaluate --help"),
    (["train", "/no/such.toml"], "see wavestitch train --help"),
    (["mic", "--seconds", "0"], "see wavestitch mic --help"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=named(WRONG))
def test_wrong_usage_is_one_line_and_exits_2(call, arguments, words):
    status, out, err = call(*arguments)

    assert (2, "") == (status, out)
    assert words in err
    assert err.startswith("wavestitch: ")
    assert 1 == err.count("\n")


FAILED = [
    (["mic", "--url", "http://x", "--device", "nosuch"], "microphone"),
    (["models", "/no/such/model"], "/no/such/model"),
    (["demo", "--model", "/no/such/model"], "/no/such/model"),
    (["serve", "--port", "0", "--model", "/no/such/model"], "/no/such/model"),
    (["quantize", __file__, "/no/such/folder/x.onnx"], ""),
]


@pytest.mark.parametrize(("arguments", "words"), FAILED, ids=named(FAILED))
def test_failure_is_one_line_and_exits_1(arguments, words):
    done = run(*arguments)

    assert 1 == done.returncode
    assert words in done.stderr
    assert done.stderr.startswith("wavestitch: ")
    assert 1 == done.stderr.count("\n")


def test_a_package_that_is_missing_is_named_with_its_extra(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "streaming.tools.train", None)

    def torchless(*_arguments, **_options):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("streaming.models.loading.describe", torchless)
    status, _, err = call("models")

    assert 1 == status
    assert "wavestitch: torch is missing: pip install 'wavestitch[models]'\n" == err


def test_a_fault_of_ours_is_one_line_unless_asked_for(call, monkeypatch):
    def broken(*_arguments, **_options):
        raise KeyError("x")

    monkeypatch.setattr("streaming.models.loading.describe", broken)

    status, _, err = call("models")
    assert (1, 1) == (status, err.count("\n"))
    assert "KeyError" in err

    monkeypatch.setenv("WAVESTITCH_TRACEBACK", "0")
    assert 1 == call("models")[0]

    monkeypatch.setenv("WAVESTITCH_TRACEBACK", "1")
    with pytest.raises(KeyError):
        call("models")


def test_ctrl_c_is_quiet(call, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("streaming.models.loading.describe", interrupted)

    assert (130, "", "") == call("models")


def entry():
    """What the installed `wavestitch` runs, as pip writes it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["wavestitch"].partition(":")
    return f"import sys; from {module} import {function}; sys.exit({function}())"


def interrupted(launch, folder):
    """Interrupt a command once it says that it waits, in code put before ours."""
    process = subprocess.Popen(
        [sys.executable, *launch, "models"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "waiting\n" == process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


# A module that waits to be interrupted while it is imported, and makes an error of
# another kind of it, as C extensions do.
WAITS = """
import time
print("waiting", flush=True)
try:
    while True:
        time.sleep(0.01)  # a pause would miss a signal that came just before it
except KeyboardInterrupt:
    raise ImportError("a part failed to import") from None
"""


@pytest.mark.parametrize("launch", [["-m", "streaming"], ["-c", entry()]])
def test_ctrl_c_while_it_imports_is_quiet(tmp_path, launch):
    (tmp_path / "typer.py").write_text(WAITS)

    assert (130, "", "") == interrupted(launch, tmp_path)


def test_a_reader_that_has_enough_is_no_fault():
    script = f"{sys.executable} -m streaming serve --print-config | true"

    done = subprocess.run(
        ["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert "" == done.stderr


def test_print_config_comes_back_as_the_same_settings(call, tmp_path):
    status, printed, err = call("serve", "--print-config")

    assert (0, "") == (status, err)
    assert Config() == merge(from_toml(printed, "printed"))

    file = tmp_path / "w.toml"
    file.write_text(printed)
    assert (0, printed, "") == call("serve", "--config", file, "--print-config")


def test_file_then_environment_then_assignment_then_flag(call, monkeypatch, tmp_path):
    file = tmp_path / "w.toml"
    file.write_text('[server]\nhost = "file"\nport = 1\n[stream]\nbudget_ms = 101\n')
    monkeypatch.setenv("WAVESTITCH_CONFIG", str(file))

    def port(*arguments):
        status, out, _ = call("serve", "--print-config", *arguments)
        config = merge(from_toml(out, "printed"))
        assert (0, "file", 101) == (status, config.server.host, config.stream.budget_ms)
        return config.server.port

    assert 1 == port()
    monkeypatch.setenv("WAVESTITCH_SERVER__PORT", "2")
    assert 2 == port()
    assert 3 == port("--set", "server.port=3")
    assert 4 == port("--set", "server.port=3", "--port", "4")


def test_several_processes_are_settings_too(call, tmp_path):
    flags = ("--ingest", "3", "--devices", "cuda:0, cuda:1")
    status, out, err = call("serve", "--print-config", *flags)
    config = merge(from_toml(out, "printed"))

    assert (0, "") == (status, err)
    assert (3, ("cuda:0", "cuda:1")) == (config.server.ingest, config.model.devices)
    for wrong in (("--devices", "tpu"), ("--ingest", "-1")):
        assert 2 == call("serve", "--print-config", *wrong)[0]
    limits = tmp_path / "limits.json"
    status, _, err = call("serve", "--ingest", "2", "--limits", limits)
    assert 2 == status
    assert "one process'" in err


def test_models_describes_what_is_named(call):
    folder = exported("bundled")
    status, out, err = call("models", "--json", folder)

    assert (0, "") == (status, err)
    assert str(folder) == json.loads(out)["folder"]
    assert out.count("\n") == 1
    assert "stride" in call("models", folder)[1]


async def test_serve_says_where_it_listens_and_ends_at_sigterm():
    folder = await asyncio.to_thread(exported, "bundled")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streaming", "serve", "--port", "0"),
        *("--model", str(folder)),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(120):
            said = ""
            while "listening on ws://127.0.0.1:" not in said:
                line = await process.stderr.readline()
                assert line, said
                said += line.decode()
            process.send_signal(signal.SIGTERM)
            await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()

    assert 0 == process.returncode
