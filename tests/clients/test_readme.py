"""What the clients' README says holds: its example runs, its tables are whole."""

from __future__ import annotations

import asyncio
import os
import re
import sys

import pytest

import clients
from clients import errors, events
from tests.clients.scripted import Line, scripted
from tests.conftest import ROOT

README = (ROOT / "clients" / "README.md").read_text()


async def test_the_ten_lines_print_the_finals(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    audio = tmp_path / "audio.pcm"
    audio.write_bytes(bytes(6_400))
    heard = []

    async def script(line: Line) -> None:
        assert "finish" == (await line.command())["type"]
        heard.append(bytes(line.audio))
        await line.say(
            "final",
            channel=0,
            utterance=0,
            text="zero four",
            start=1.234,
            end=2.0,
            confidence=0.9,
            **{"pass": "full"},
        )
        await line.finish(received=3_200, decoded=3_200)

    async with scripted(script) as url:
        program = tmp_path / "client.py"
        program.write_text(example.replace("ws://127.0.0.1:8770", url))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            program,
            audio,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()

    assert (0, b"1.23 zero four\n") == (process.returncode, printed)
    assert [audio.read_bytes()] == heard


PARTS = {"ClientError", "Rejected", "Totals", "Word"}  # bases, and fields of events


@pytest.mark.parametrize("module", [errors, events])
def test_the_tables_name_everything_that_is_told(module):
    kinds = {name for name in module.__all__ if isinstance(getattr(module, name), type)}
    rows = "".join(line for line in README.splitlines() if line.startswith("|"))
    assert kinds - PARTS <= set(re.findall(r"`(\w+)`", rows))
    assert kinds <= set(clients.__all__)
