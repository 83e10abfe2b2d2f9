"""Playing recordings: every sample, at the pace of one clock."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients import file as file_module
from clients.errors import AudioUnavailable
from clients.file import main, open_recording, play
from tests.clients.scripted import scripted
from tests.conftest import ROOT


class Ear:
    """Takes audio as a stream does."""

    def __init__(self):
        self.heard = bytearray()

    async def send(self, audio):
        self.heard += audio


def wave(path, samples, rate=16_000, subtype="PCM_16"):
    soundfile.write(path, samples, rate, subtype)
    return path


def noise(count, channels=1, seed=1):
    dice = np.random.default_rng(seed)
    shape = (count, channels) if channels > 1 else (count,)
    return dice.integers(-32_768, 32_768, shape, dtype=np.int16)


@given(count=st.integers(1, 3_000), piece=st.integers(1, 700))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_sample_is_read_bit_for_bit(tmp_path, count, piece):
    samples = noise(count)
    path = wave(tmp_path / "a.wav", samples)

    with open_recording(path) as recording:
        pieces = list(recording.pieces(piece))

    assert samples.tobytes() == b"".join(data for _, data in pieces)
    assert count == sum(n for n, _ in pieces)


def test_channels_stay_interleaved(tmp_path):
    samples = noise(500, channels=2)
    with open_recording(wave(tmp_path / "a.flac", samples)) as recording:
        assert (2, 16_000, 500) == (
            recording.channels,
            recording.sample_rate,
            recording.frames,
        )
        assert samples.tobytes() == b"".join(data for _, data in recording.pieces(80))


def test_mono_is_the_mean_of_the_channels(tmp_path):
    left, right = noise(500, seed=1), noise(500, seed=2)
    path = wave(tmp_path / "a.wav", np.stack([left, right], axis=1))

    with open_recording(path, mono=True) as recording:
        heard = b"".join(data for _, data in recording.pieces(80))

    mean = (left.astype(int) + right) / 2
    assert 0.51 > np.abs(np.frombuffer(heard, np.int16) - mean).max()


def test_a_float_recording_past_full_scale_is_clipped_not_wrapped(tmp_path):
    path = wave(tmp_path / "a.wav", np.array([1.5, -1.5, 0.5]), subtype="FLOAT")

    with open_recording(path) as recording:
        ((_, heard),) = recording.pieces(10)

    assert [32_767, -32_768, 16_384] == np.frombuffer(heard, np.int16).tolist()


def test_what_cannot_be_played_is_said_in_one_line(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("no recording")
    empty = tmp_path / "empty.wav"
    empty.touch()
    surround = wave(tmp_path / "six.wav", noise(10, channels=6))

    for path, words in (
        (tmp_path / "none.wav", "none.wav: no such file"),
        (tmp_path, "is a folder"),
        (text, "a.txt: not a recording that libsndfile reads: expected WAV, FLAC"),
        (empty, "empty.wav: the file is empty"),
        (surround, "6 channels"),
    ):
        with (
            pytest.raises(AudioUnavailable, match=words) as caught,
            open_recording(path),
        ):
            pass
        assert "\n" not in str(caught.value)


def test_six_channels_can_be_mixed_into_one(tmp_path):
    path = wave(tmp_path / "six.wav", noise(10, channels=6))

    with open_recording(path, mono=True) as recording:
        assert 1 == recording.channels


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes only while everybody waits."""

    def __init__(self):
        super().__init__()
        self._now = 1_000.0

    def time(self):
        return self._now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self._now = max(self._now, self._scheduled[0]._when)
        super()._run_once()


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 60.0), (4.0, 15.0), (0.0, 0.0)])
def test_a_minute_takes_a_minute_without_drift(tmp_path, speed, seconds):
    path = wave(tmp_path / "a.wav", np.zeros(44_100 * 60, np.int16), 44_100)
    sent = []

    class Slow(Ear):
        async def send(self, audio):
            # A socket that takes its time: the next piece must not be late for it.
            if speed:
                await asyncio.sleep(0.003)
            await super().send(audio)

    ear = Slow()
    with open_recording(path) as recording, closing(Clock()) as loop:
        loop.run_until_complete(
            play(ear, recording, speed=speed, sent=lambda n, now: sent.append((n, now)))
        )

    late = [now - 1_000 - n / 44_100 / speed for n, now in sent] if speed else [0.0]
    assert 44_100 * 60 == sent[-1][0]
    assert 44_100 * 60 * 2 == len(ear.heard)
    assert pytest.approx(seconds, abs=0.01) == sent[-1][1] - 1_000
    assert pytest.approx(0.003 if speed else 0.0, abs=1e-3) == max(late)
    assert 0.0 <= min(late)


async def test_the_program_prints_finals_and_exits_0(tmp_path, capfd):
    path = wave(tmp_path / "a.wav", noise(8_000))
    lines = []

    async def script(line):
        lines.append(line)
        final = {"channel": 0, "utterance": 0, "start": 0, "end": 0.5}
        await line.say(
            "final", text="oh two", confidence=1, **final, **{"pass": "full"}
        )
        await line.until_finish()

    async with scripted(script) as url:
        arguments = ["--speed", "0", "--url", url, str(path)]
        status = await asyncio.to_thread(main, arguments)

    assert 0 == status
    assert "0.50 s     oh two\n" == capfd.readouterr().out.lstrip()
    assert soundfile.read(path, dtype="int16")[0].tobytes() == bytes(lines[0].audio)


async def test_a_damaged_recording_ends_the_stream_in_one_line(tmp_path, capfd):
    path = wave(tmp_path / "a.flac", noise(60_000))
    data = bytearray(path.read_bytes())
    data[40_000:60_000] = bytes(20_000)
    path.write_bytes(data)

    async def script(line):
        await line.until_finish()

    async with scripted(script) as url:
        arguments = ["--speed", "0", "--url", url, str(path)]
        status = await asyncio.to_thread(main, arguments)

    assert 1 == status
    assert capfd.readouterr().err.startswith(f"clients.file: cannot read {path}: ")


async def test_a_recording_that_was_cut_short_is_told_with_its_numbers(tmp_path, capfd):
    path = wave(tmp_path / "a.wav", noise(16_000))
    path.write_bytes(path.read_bytes()[: 44 + 2 * 12_000])

    async def script(line):
        await line.until_finish()

    async with scripted(script) as url:
        arguments = ["--speed", "0", "--url", url, str(path)]
        status = await asyncio.to_thread(main, arguments)

    assert 0 == status
    told = f"! {path}: cut short, 0.75 s of the 1.00 s that its header promises\n"
    assert told == capfd.readouterr().err


def test_it_runs_as_a_module(unused_port, tmp_path):
    path = wave(tmp_path / "a.wav", noise(100))
    url = f"ws://127.0.0.1:{unused_port}"

    done = subprocess.run(
        [sys.executable, "-m", "clients.file", "--url", url, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert done.stderr.startswith(f"clients.file: cannot reach {url}")


def test_the_library_needs_no_server_and_no_terminal():
    code = (
        "import sys, clients; "
        "print([m for m in ('streaming', 'rich', 'soundfile', 'sounddevice', 'typer')"
        " if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "[]\n" == done.stdout


@pytest.mark.parametrize("speed", ["-1", "inf", "nan", "fast"])
def test_a_speed_that_is_none_is_wrong_usage(capsys, speed):
    with pytest.raises(SystemExit) as caught:
        file_module.main(["--speed", speed, "a.wav"])

    assert 2 == caught.value.code
    said = capsys.readouterr().err
    assert f"must be a number, 0 or more, got '{speed}'" in said
