"""RTP as ffmpeg, GStreamer, sipp and baresip send it, into a tap beside a live server.

They are Debian packages; a test whose program is missing skips and says so. sipp and
baresip call a sipp that answers with the tap's port for the audio.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import soundfile
import soxr

from clients.call import Call
from clients.rtp_tap import Follow, listen_rtp
from clients.side import Asked
from streaming.cli.demo import RECORDING
from streaming.numeric.wer import edits

SIPP = Path(__file__).parent / "sipp"
RATE, SECONDS = 8_000, 4.0
PATIENCE_S = 60.0


def program(name, package):
    """A program of Debian's, or a skip."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name}: apt install {package}")
    return path


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """The first utterance of the bundled recording at 8 kHz: a WAV, and mu-law."""
    samples, rate = soundfile.read(RECORDING, dtype="float32")
    samples = soxr.resample(samples, rate, RATE, "VHQ")[: int(SECONDS * RATE)]
    folder = tmp_path_factory.mktemp("speech")
    soundfile.write(folder / "speech.wav", samples, RATE, "PCM_16")
    soundfile.write(folder / "speech.raw", samples, RATE, "ULAW", format="RAW")
    return folder


def modules():
    """Where baresip's modules are."""
    (module,) = Path("/usr/lib").glob("**/baresip/modules/g711.so")
    return module.parent


class Tapped:
    """A tap that listens, and what it tells."""

    def __init__(self, port):
        self.port = port
        self.records = []

    def insist_on(self, text, *, most_wrong=1):
        (side,) = [each for each in self.records if each["type"] == "side_ended"]
        (end,) = [each for each in self.records if each["type"] == "call_ended"]
        packets = end["packets"]["caller"]
        turns = [each["text"] for each in self.records if each["type"] == "turn"]
        wrong = edits(text.split(), " ".join(turns).split())
        assert most_wrong >= wrong, turns
        assert (0, 0, 0) == (packets["lost"], packets["late"], packets["unreadable"])
        # The last packet may be filled up.
        assert SECONDS * RATE <= side["received"] <= (SECONDS + 0.1) * RATE
        assert 0 == side["dropped"] + side["unsent"]


@asynccontextmanager
async def tap(live):
    bound: asyncio.Future[Sequence] = asyncio.get_running_loop().create_future()
    tapped, ended = Tapped(0), asyncio.Event()
    running = asyncio.create_task(
        listen_rtp(
            [("127.0.0.1", 0)],
            Follow(depth_s=0.3),
            lambda at: Call(
                "call", Asked(live.url, pause_s=5.0), at, tapped.records.append
            ),
            ended,
            bound.set_result,
        )
    )
    ((_, tapped.port),) = await bound
    try:
        yield tapped
    finally:
        ended.set()
        await running


async def run(*command, cwd=None):
    """Run a program to its end; its output is shown where it fails."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
    assert 0 == process.returncode, output.decode(errors="replace")[-2_000:]


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def answering(tap_port, folder):
    """A sipp that takes one call and has its audio sent to the tap; its port."""
    sipp, port = program("sipp", "sip-tester"), free_port()
    script = (SIPP / "uas.xml").read_text().replace("[tap_port]", str(tap_port))
    (folder / "uas.xml").write_text(script)
    options = ("-i", "127.0.0.1", "-p", port, "-m", 1, "-nostdin", "-timeout", "60s")
    serving = asyncio.create_task(
        run(sipp, "-sf", folder / "uas.xml", *options, cwd=folder)
    )
    yield port
    await serving


async def test_ffmpeg_in_packets_of_odd_sizes(live, speech, meant):
    ffmpeg = program("ffmpeg", "ffmpeg")
    async with tap(live) as tapped:
        quiet = ("-nostdin", "-loglevel", "error")
        url = f"rtp://127.0.0.1:{tapped.port}?pkt_size=172"
        source = ("-re", "-i", speech / "speech.wav", "-c:a", "pcm_mulaw")
        await run(ffmpeg, *quiet, *source, "-f", "rtp", url)
    tapped.insist_on(meant[0])


async def test_gstreamer_with_a_law(live, speech, meant):
    gst = program("gst-launch-1.0", "gstreamer1.0-tools gstreamer1.0-plugins-good")
    async with tap(live) as tapped:
        pipeline = f"""filesrc location={speech}/speech.wav ! wavparse ! audioconvert !
            alawenc ! rtppcmapay min-ptime=20000000 max-ptime=20000000 !
            udpsink host=127.0.0.1 port={tapped.port}"""
        await run(gst, "-q", *pipeline.split())
    tapped.insist_on(meant[0])


async def test_sipp_plays_a_file_into_a_call(live, speech, meant, tmp_path):
    sipp = program("sipp", "sip-tester")
    script = (SIPP / "uac.xml").read_text()
    script = script.replace("speech.ul", str(speech / "speech.raw"))
    (tmp_path / "uac.xml").write_text(script)
    async with (
        tap(live) as tapped,
        answering(tapped.port, tmp_path) as port,
    ):
        here = ("-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", free_port())
        options = ("-m", 1, "-nostdin", "-timeout", "60s", f"127.0.0.1:{port}")
        await run(sipp, "-sf", tmp_path / "uac.xml", *here, *options, cwd=tmp_path)
    tapped.insist_on(meant[0])


async def test_baresip_calls_and_speaks(live, speech, meant, tmp_path):
    baresip = program("baresip", "baresip-core")
    (tmp_path / "config").write_text(
        f"""sip_listen 127.0.0.1:{free_port()}
audio_player aufile,{tmp_path}/heard.wav
audio_source aufile,{speech}/speech.wav
audio_alert aufile,{tmp_path}/alert.wav
module_path {modules()}
module g711.so
module aufile.so
module_tmp account.so
module_app menu.so
"""
    )
    account = "<sip:caller@127.0.0.1>;regint=0;audio_codecs=PCMU/8000/1\n"
    (tmp_path / "accounts").write_text(account)
    (tmp_path / "contacts").write_text("")
    async with (
        tap(live) as tapped,
        answering(tapped.port, tmp_path) as port,
    ):
        dial = f"d sip:tap@127.0.0.1:{port}"
        await run(baresip, "-f", tmp_path, "-e", dial, "-t", int(SECONDS) + 3)
    tapped.insist_on(meant[0])
