"""What the README says works as it is written."""

from __future__ import annotations

import asyncio
import json
import re
import sys

import pytest
import soundfile

from streaming.app import running
from streaming.cli.demo import RECORDING
from streaming.config import Config, ServerConfig
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def fences(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


async def test_the_ten_line_client_prints_what_was_said(tmp_path):
    (example,) = fences("python")
    samples, _ = soundfile.read(RECORDING, dtype="int16")
    (tmp_path / "audio.pcm").write_bytes(samples.tobytes())

    async with running(Config(server=ServerConfig(port=0))) as server:
        program = tmp_path / "client.py"
        program.write_text(example.replace("ws://127.0.0.1:8770", server.url))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            program,
            tmp_path / "audio.pcm",
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()

    truth = json.loads(RECORDING.with_suffix(".json").read_text())["utterances"]
    assert process.returncode == 0
    assert len(truth) == len(printed.decode().splitlines())


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_the_commands_of_the_readme_exist():
    from streaming.cli import COMMANDS  # noqa: PLC0415 - what is promised

    known = {command.__name__ for command, _ in COMMANDS}
    named = set(re.findall(r"wavestitch ([a-z]+)", "".join(fences("sh"))))
    assert named <= known


def test_ci_runs_the_readmes_test_command():
    (command,) = [c for c in fences("sh") if "pytest" in c]
    marked = README.split("<!-- test command -->")[1]

    assert marked.lstrip().startswith(f"```sh\n{command}```")
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text()


def test_every_test_that_the_table_of_faults_names_exists():
    table = (ROOT / "tests" / "README.md").read_text()
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", table))
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {name for text in sources for name in re.findall(r"def (test_\w+)", text)}

    assert len(named) > 20
    assert named <= defined
