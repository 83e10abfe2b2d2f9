"""Real processes: they serve as one, and what dies is missed by nobody for long.

Each letter of the model's text tells all of the utterance before it: a window that is
left out or run twice after a crash changes the text.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streaming import app, cluster
from streaming.config import (
    Config,
    EngineConfig,
    LimitConfig,
    ModelConfig,
    ServerConfig,
    StreamConfig,
)
from streaming.errors import ModelError
from tests.cluster.models import STAND, Rememberer, load_nothing
from tests.test_app import FINISH, hush, of, rest, say, voice

WAIT_S = 120  # a busy machine starts interpreters slowly

# Stitched, and with time enough, a text depends on nothing but the audio.
QUERY = "?finals=stitched&budget_ms=60000"

CONFIG = Config(
    server=ServerConfig(port=0, ingest=2),
    model=ModelConfig(devices=("cpu", "cpu")),
    engine=EngineConfig(workers=1),
    limits=LimitConfig(drain_s=60.0),
    stream=StreamConfig(stall_ms=60_000),  # callers wait for what a test does
)

# Of processes that a test stops; others of theirs must be heard within that time.
HASTY = replace(CONFIG, engine=EngineConfig(workers=1, hang_s=6.0))

SCRIPT = """
import asyncio, logging, sys
from streaming import cluster
from tests.cluster import models, test_processes
if __name__ == "__main__":
    logging.basicConfig(level="INFO", stream=sys.stderr)
    config, load = getattr(test_processes, sys.argv[1]), getattr(models, sys.argv[2])
    asyncio.run(cluster.serve(config, load=load))
"""

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="needs signals of Unix"
)


class Parent:
    """A server of several processes in one of its own, known by its log."""

    def __init__(self, process):
        self.process = process
        self.log = []
        self.stopped = []
        self.told = asyncio.Condition()
        self.reading = asyncio.create_task(self.read())

    async def read(self):
        async for line in self.process.stderr:
            async with self.told:
                self.log.append(line.decode())
                self.told.notify_all()

    async def logged(self, pattern, after=0):
        """Wait for a line of the log; its groups."""

        def found():
            return [m for line in self.log[after:] if (m := re.search(pattern, line))]

        async with asyncio.timeout(WAIT_S), self.told:
            await self.told.wait_for(found)
            return found()[-1].groups()

    async def pid(self, name, after=0):
        (pid,) = await self.logged(rf"{name} \(process (\d+)\)", after)
        return int(pid)

    async def url(self):
        return (await self.logged(r"listening on (\S+)"))[0]

    async def kill(self, *names, with_=signal.SIGKILL):
        """Kill children, and return where in the log that was."""
        before = len(self.log)
        for name in names:
            os.kill(pid := await self.pid(name), with_)
            self.stopped += [pid] if with_ == signal.SIGSTOP else []
        return before

    async def ended(self):
        async with asyncio.timeout(WAIT_S):
            status = await self.process.wait()
            await self.reading
        return status

    async def pids(self):
        names = ("engine-0", "engine-1", "ingest-0", "ingest-1")
        return [await self.pid(name) for name in names]


@asynccontextmanager
async def parent(config="CONFIG", load="load_rememberer", **environment):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCRIPT,
        config,
        load,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    made = Parent(process)
    try:
        await made.url()
        yield made
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        for pid in made.stopped:  # else they would not notice that it is gone
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        await process.wait()
        await made.reading


def alive(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        # One whose parent died may be a zombie of a container's first process.
        with suppress(OSError), open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
        return True
    return False


def speech(number):
    """What a client says, no two the same."""
    return voice(1.5 + 0.1 * number) + hush(1) + voice(1.0) + hush(0.3)


class Caller:
    """A client that stops in the middle of an utterance."""

    def __init__(self, client, number):
        self.client = client
        self.number = number
        self.heard = []

    async def begin(self):
        audio = speech(self.number)
        await say(self.client, audio[:40_000])
        while not of(self.heard, "partial"):
            self.heard.append(json.loads(await self.client.recv()))

    async def end(self):
        await say(self.client, speech(self.number)[40_000:])
        await self.client.send(FINISH)
        self.heard += await rest(self.client)
        return self

    @property
    def ingest(self):
        return of(self.heard, "ready")[0]["session"][:2]

    @property
    def texts(self):
        return [(f["text"], f["start"], f["end"]) for f in of(self.heard, "final")]

    def insist_whole(self):
        totals = self.heard[-1]
        assert "finished" == totals["type"], self.heard
        assert len(speech(self.number)) // 2 == totals["received"]
        assert totals["received"] == totals["decoded"] + totals["gated"]
        assert 0 == totals["dropped"]


def calling(url):
    return connect(f"{url}/v1/stream{QUERY}", compression=None, open_timeout=WAIT_S)


async def call(url, number):
    async with calling(url) as client:
        caller = Caller(client, number)
        await caller.begin()
        return await caller.end()


@pytest.fixture(scope="module")
def expected():
    """What one process makes of it."""

    async def serve():
        alone = replace(CONFIG, server=ServerConfig(port=0), model=ModelConfig())
        async with app.running(alone, model=Rememberer()) as run:
            return [(await call(run.url, number)).texts for number in range(6)]

    texts = asyncio.run(serve())
    assert len({str(each) for each in texts}) == 6
    assert all(len(each) == 2 for each in texts)
    return texts


async def get(url, path):
    def ask():
        try:
            with urllib.request.urlopen(url.replace("ws", "http", 1) + path) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


def metric(page, name):
    (line,) = (line for line in page.splitlines() if line.startswith(f"{name} "))
    return float(line.rpartition(" ")[2])


async def test_they_serve_as_one_lose_nothing_with_an_engine_and_drain(expected):
    async with parent() as server:
        url, pids = await server.url(), await server.pids()

        # Several clients, spread over both, get what one process would say.
        callers = await asyncio.gather(*(call(url, number) for number in range(4)))
        assert expected[:4] == [caller.texts for caller in callers]
        assert {"00", "01"} == {caller.ingest for caller in callers}

        # The pages are of the whole.
        assert 200 == (await get(url, "/healthz"))[0]
        assert (200, '{"status":"ready"}\n') == await get(url, "/readyz")
        status, page = await get(url, "/metrics")
        assert 200 == status
        received = sum(len(speech(number)) for number in range(4)) / 32_000
        assert received == pytest.approx(
            metric(page, "wavestitch_audio_received_seconds_total")
        )
        assert received == pytest.approx(
            metric(page, "wavestitch_audio_decoded_seconds_total")
            + metric(page, "wavestitch_audio_gated_seconds_total")
        )
        assert 8 == metric(page, 'wavestitch_finals_total{pass="stitched"}')
        assert 2 == metric(page, "wavestitch_inference_workers")
        assert 0 == metric(page, "wavestitch_states_open")

        # One engine dies in the middle of utterances, then both.
        for killed in (["engine-1"], ["engine-0", "engine-1"]):
            async with calling(url) as one, calling(url) as other:
                callers = [Caller(one, 4), Caller(other, 5)]
                for caller in callers:
                    await caller.begin()
                before = await server.kill(*killed)
                await asyncio.gather(*(caller.end() for caller in callers))
            assert expected[4:] == [caller.texts for caller in callers]
            for caller in callers:
                caller.insist_whole()
            for name in killed:
                assert await server.pid(name, before) not in pids
                await server.logged(rf"{name} ended, by SIGKILL", before)

        # Told to stop, they let who is speaking finish, and leave nothing behind.
        async with calling(url) as client:
            caller = Caller(client, 0)
            await caller.begin()
            pids = await server.pids()
            server.process.send_signal(signal.SIGTERM)
            while not of(caller.heard, "goaway"):
                caller.heard.append(json.loads(await client.recv()))
            for sessions in (0, 1):  # both processes have heard it
                await server.logged(f"draining {sessions} sessions")
            with pytest.raises(InvalidStatus) as refused:
                await call(url, 1)
            await caller.end()
        assert expected[0] == caller.texts
        caller.insist_whole()
        assert 503 == refused.value.response.status_code
        assert 0 == await server.ended()
        assert not any(map(alive, pids))
        assert not [line for line in server.log if "Traceback" in line]


async def test_a_dead_ingest_takes_its_own_sessions_and_a_dead_parent_everything(
    expected,
):
    async with parent() as server:
        url, pids = await server.url(), await server.pids()
        async with calling(url) as one, calling(url) as other:
            callers = [Caller(one, 1), Caller(other, 2)]
            for caller in callers:
                await caller.begin()
            lost, kept = sorted(callers, key=lambda caller: caller.ingest)
            assert ["00", "01"] == [lost.ingest, kept.ingest]

            before = await server.kill("ingest-0")
            heard = await rest(lost.client)
            await kept.end()

        assert not of(heard, "finished")
        assert expected[kept.number] == kept.texts
        kept.insist_whole()

        # Who comes back is told, by the one that took its place, that it is lost.
        assert await server.pid("ingest-0", before) not in pids
        await server.logged("ingest-0 lets streams in", before)
        ready = of(lost.heard, "ready")[0]
        back = f"session={ready['session']}&token={ready['token']}&after=0"
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{url}/v1/stream?{back}", compression=None)
        assert 410 == refused.value.response.status_code
        again = await asyncio.gather(*(call(url, number) for number in (3, 4)))
        assert {"00", "01"} == {caller.ingest for caller in again}
        assert expected[3:5] == [caller.texts for caller in again]

        pids = await server.pids()
        async with calling(url) as client:
            await Caller(client, 0).begin()
            server.process.kill()
            with suppress(ConnectionClosed):
                while True:
                    await client.recv()
        await server.ended()
        async with asyncio.timeout(WAIT_S):
            while any(map(alive, pids)):  # noqa: ASYNC110  nobody can wait for them
                await asyncio.sleep(0.01)


async def test_processes_that_stand_still_are_killed_and_streams_go_on(expected):
    """SIGSTOP: they live, and their sockets are open."""
    async with parent("HASTY") as server:
        url, pids = await server.url(), await server.pids()
        async with calling(url) as one, calling(url) as other:
            callers = [Caller(one, 4), Caller(other, 5)]
            for caller in callers:
                await caller.begin()
            lost, kept = sorted(callers, key=lambda caller: caller.ingest)
            before = await server.kill(
                "engine-0", "engine-1", "ingest-0", with_=signal.SIGSTOP
            )
            heard = await rest(lost.client)
            await kept.end()

        assert not of(heard, "finished")
        assert expected[kept.number] == kept.texts
        kept.insist_whole()
        for name in ("engine-0", "engine-1", "ingest-0"):
            await server.logged(rf"{name} hangs: it has said nothing for \d+ s", before)
            assert await server.pid(name, before) not in pids
        assert 3 == metric(
            (await get(url, "/metrics"))[1], "wavestitch_processes_hung_total"
        )


async def test_an_engine_whose_model_never_returns_is_killed_and_streams_go_on(
    expected, tmp_path
):
    stand = tmp_path / "stand"
    async with parent("HASTY", "load_standing", **{STAND: str(stand)}) as server:
        url = await server.url()
        async with calling(url) as client:
            caller = Caller(client, 3)
            await caller.begin()
            before = len(server.log)
            stand.touch()
            await caller.end()

        assert expected[3] == caller.texts
        caller.insist_whole()
        await server.logged(r"engine-\d hangs: a pass over 1 windows has run", before)


async def test_a_model_that_does_not_load_is_the_error_and_leaves_nothing():
    one = replace(
        CONFIG, server=ServerConfig(port=0), model=ModelConfig(devices=("cpu",))
    )
    with pytest.raises(ModelError, match="nothing to load"):
        await cluster.serve(one, stop=asyncio.Event(), load=load_nothing)
