"""The seam of dialects: lazily opened sessions, own answers, own manners."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streaming.config import AudioFormat, StreamConfig
from streaming.errors import BadRequest, ProtocolError
from streaming.events import Audio, Finish, Keepalive, Partial, Refused
from streaming.protocols.adapter import Dialect, Note, Refusal, Say, Start
from streaming.server import dialects
from tests.server.scripted import staged, until


class Parrot:
    """Learns its rate from the first text; repeats what it was sent last.

    Binary: audio, and `heard N` of the partials that were sent before it. Texts:
    `rate N`, `finish`, `note X`, `echo X`, `bad`.
    """

    config = None
    resume = None

    def __init__(self, opening, offer):
        self.opening = opening
        self.offer = offer
        self.partials = 0
        self.sent = []

    def opened(self):
        return [f"hello {self.opening.path}"]

    def receive(self, message):
        if isinstance(message, bytes):
            return (Audio(message), Say(lambda: [f"heard {self.partials}"]))
        word, _, rest = message.partition(" ")
        match word:
            case "rate":
                audio = AudioFormat(sample_rate=int(rest))
                config = replace(self.offer.defaults, audio=audio)
                return (Say(["started"]), Start(config), Keepalive(), Say(["after"]))
            case "finish":
                return (Finish(),)
            case "note":
                return (Note(rest),)
            case "echo":
                return (Say([rest]),)
            case "bad":
                raise BadRequest("bad")
            case _:
                raise ProtocolError(f"what is {message}?")

    def send(self, event):
        match event:
            case Partial():
                self.partials += 1
                return []
            case Refused():
                return [f"refused {event.error}"]
            case _:
                return [type(event).__name__]


def refusal(error, request):
    said = f"{type(error).__name__}: {error}"
    return Refusal("why", 418, 1008, said, said, {"X-Request": request})


PARROT = Dialect(
    "/parrot/{name}",
    Parrot,
    refusal,
    subprotocol=lambda offered: offered[-1] if offered else None,
    headers=lambda opening: {"X-Id": opening.id},
)


@pytest.fixture
def parrot(monkeypatch):
    """A stage whose server speaks it; call with the dialect's changes."""

    def stage(changes=None, **limits):
        dialect = replace(PARROT, **(changes or {}))
        monkeypatch.setattr(dialects, "DIALECTS", (dialect,))
        return staged(**limits)

    return stage


def call(stage, path="/parrot/polly?x=1", **options):
    return connect(f"{stage.server.url}{path}", compression=None, **options)


async def rest(client):
    heard = []
    with suppress(ConnectionClosed):
        while True:
            heard.append(await client.recv())
    return heard


async def test_a_session_is_opened_when_the_client_has_said_what_it_sends(parrot):
    async with parrot() as stage, call(stage) as client:
        assert "hello /parrot/polly" == await client.recv()
        await client.send("echo one")
        assert "one" == await client.recv()
        assert [] == stage.sessions
        await client.send("rate 8000")
        assert ["started", "Ready", "after"] == [await client.recv() for _ in "123"]
        assert 8_000 == stage.sessions[0].config.audio.sample_rate
        await client.send("finish")
        assert "Finished" == (await rest(client))[-1]

    assert [Keepalive(), Finish()] == stage.sessions[0].events


async def test_what_is_said_keeps_its_place_and_is_written_at_its_turn(parrot):
    async with parrot() as stage, call(stage) as client:
        await client.send("rate 8000")
        for number in range(1, 4):
            await client.send(bytes(100))
            assert f"heard {number}" == await said(client, "heard")


async def test_a_client_that_says_nothing_of_its_stream_is_refused_in_words(parrot):
    async with parrot(handshake_timeout_s=0.1) as stage, call(stage) as client:
        heard = await rest(client)

        assert heard[-1].startswith("IdleTimeout: nothing said what the stream carries")
        assert (1008, "why") == (client.close_code, client.close_reason)
        assert [] == stage.sessions
        assert 1 == stage.metric("connections_refused_total", reason="why")


@pytest.mark.parametrize(
    ("message", "why"), [("bad", "BadRequest: bad"), ("x", "ProtocolError: what is x?")]
)
async def test_errors_before_a_session_are_fatal_and_typed(parrot, message, why):
    async with parrot() as stage, call(stage) as client:
        await client.send(message)
        assert why == (await rest(client))[-1]


async def test_an_adapter_that_acts_before_its_start_is_a_bug(parrot, caplog):
    async with parrot() as stage, call(stage) as client:
        await client.send("finish")
        heard = await rest(client)

    assert heard[-1].startswith("RuntimeError")
    assert "came before the stream was started" in caplog.text


async def test_a_client_that_leaves_before_its_session_leaves_nothing(parrot, caplog):
    async with parrot() as stage:
        async with call(stage):
            pass
        await until(lambda: not stage.server._admission._doors)

    assert [] == caplog.records


async def test_a_stream_is_refused_for_load_once_its_channels_are_known(parrot):
    stereo = AudioFormat(channels=2)

    class Pair(Parrot):
        def receive(self, message):  # noqa: ARG002
            return (Start(StreamConfig(audio=stereo)),)

    async with parrot({"open": Pair}, max_streams=1) as stage, call(stage) as client:
        await client.send("go")
        assert (await rest(client))[-1].startswith("Overloaded")


async def test_notes_go_to_the_log(parrot, caplog):
    async with parrot() as stage, call(stage) as client:
        await client.send("note before")
        await client.send("rate 8000")
        await client.send("note within")
        await client.send("finish")
        await rest(client)

    assert ["before", "within"] == [
        r.message.rpartition(" ")[2] for r in caplog.records
    ]


async def test_the_handshake_is_the_dialects(parrot):
    async with parrot() as stage:
        async with call(stage, subprotocols=["a", "b"]) as client:
            assert "b" == client.subprotocol
            assert 36 == len(client.response.headers["X-Id"])
        async with call(stage) as client:
            assert client.subprotocol is None
        for path in ("/parrot", "/parrot/", "/parrot/a/b"):
            with pytest.raises(InvalidStatus) as caught:
                await call(stage, path)
            assert 404 == caught.value.response.status_code


async def test_a_refused_opening_has_the_dialects_headers(parrot):
    def refuse(opening, offer):
        raise BadRequest(
            f"no {opening.query} {opening.headers['x-y']} {offer.languages}"
        )

    async with parrot({"open": refuse}) as stage:
        with pytest.raises(InvalidStatus) as caught:
            await call(stage, additional_headers={"X-Y": "z"})

    response = caught.value.response
    assert 418 == response.status_code
    assert b"BadRequest: no x=1 z ('en',)" == response.body
    assert 36 == len(response.headers["X-Request"])


async def test_a_dialect_that_only_closes_says_nothing(parrot):
    silent = lambda error, request: replace(refusal(error, request), message=None)  # noqa: E731
    async with parrot({"refusal": silent}) as stage, call(stage) as client:
        await client.send("x")
        assert ["hello /parrot/polly"] == await rest(client)
        assert (1008, "why") == (client.close_code, client.close_reason)


async def test_a_dialect_has_an_idle_timeout_of_its_own(parrot):
    async with parrot({"idle_timeout_s": 0.1}) as stage, call(stage) as client:
        await client.send("rate 8000")
        heard = await rest(client)

    assert heard[-1].startswith("refused neither audio nor keepalive came for 0.1 s")


async def test_answers_wait_while_more_is_undecoded_than_the_dialect_allows(parrot):
    async with parrot({"backlog_s": 1.0}) as stage, call(stage) as client:
        stage.engine.held = True
        await client.send("rate 8000")
        await client.send(bytes(32_000))  # 2 s
        await until(lambda: stage.engine.waiting)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(said(client, "heard"), 0.1)
        stage.engine.held = False
        stage.engine.release(9)
        await said(client, "heard")


async def said(client, word):
    """The next message that begins so."""
    while not (message := await client.recv()).startswith(word):
        pass
    return message


@pytest.mark.parametrize(("pings", "kept"), [(True, False), (False, True)])
async def test_who_answers_no_pings_is_kept_where_the_dialect_sends_none(
    parrot, pings, kept
):
    timeouts = {"ping_interval_s": 0.05, "ping_timeout_s": 0.05}
    async with parrot({"pings": pings}, **timeouts) as stage, call(stage) as client:
        await client.send("rate 8000")
        await said(client, "after")
        client.transport.pause_reading()  # neither pings nor closes are seen
        with suppress(TimeoutError):
            await asyncio.wait_for(stage.server.sessions.wait_empty(), 0.4)
        assert kept == bool(len(stage.server.sessions))
        client.transport.resume_reading()
