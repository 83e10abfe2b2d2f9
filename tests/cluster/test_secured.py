"""Keys, tokens and TLS hold at whichever process answers, and are read again in all."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from dataclasses import replace

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from streaming import cluster
from streaming.cluster.porter import mark_of
from streaming.config import AccessConfig, Config, EngineConfig, ServerConfig
from streaming.core.tokens import Claims, Scope, sign
from streaming.errors import ConfigError
from streaming.server.keyring import draw_key, token_secret, write_file
from tests.cluster.models import load_rememberer
from tests.server.test_tls import Authority, certificate_of

WAIT_S = 120  # a busy machine starts interpreters slowly

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="needs signals of Unix"
)


async def test_several_processes_ask_for_the_same_keys(tmp_path):
    authority, file = Authority(tmp_path), tmp_path / "keys"
    shown, key = draw_key("desk", streams=0, minutes_a_day=0)
    write_file(file, [key])
    config = Config(
        server=replace(authority.server, ingest=2),
        access=AccessConfig(keys_file=str(file)),
        engine=EngineConfig(workers=1),
    )
    until = int(time.time() + 600)
    token = sign(Claims("desk", Scope.STREAM, until), token_secret(config.access))
    trust = authority.trust()

    async with cluster.running(config, load=load_rememberer) as run:

        def calling(credential):
            return connect(
                f"{run.url}/v1/stream?access_token={credential}",
                ssl=trust,
                open_timeout=WAIT_S,
            )

        assert run.url.startswith("wss://")
        async with asyncio.timeout(WAIT_S):
            before = await at_both(calling(shown), calling(token))
        assert before is not None
        with pytest.raises(InvalidStatus):
            await calling("wsk_other").__aenter__()

        authority.issue()
        second, key = draw_key("phone", streams=0, minutes_a_day=0)
        write_file(file, [key])
        run.household.reload()
        async with asyncio.timeout(WAIT_S):  # each of them in its time
            while not (  # noqa: ASYNC110  they tell nobody
                after := await at_both(calling(second), calling(second))
            ):
                await asyncio.sleep(0.05)
        assert before != after
        for gone in (shown, token):
            with pytest.raises(InvalidStatus):
                await calling(gone).__aenter__()


async def at_both(connecting, at_once):
    """The certificate of both processes, where each lets one in; else None."""
    try:
        async with connecting as one, at_once as other:
            ready = [json.loads(await each.recv()) for each in (one, other)]
            holders = {said["session"][:2] for said in ready}
            numbers = {certificate_of(each) for each in (one, other)}
    except InvalidStatus:
        return None
    if {mark_of(0), mark_of(1)} != holders or len(numbers) > 1:
        return None
    return numbers


async def test_what_an_ingest_would_die_of_is_told_before_any_is_started():
    everywhere = Config(server=ServerConfig(host="0.0.0.0", port=0, ingest=2))
    with pytest.raises(ConfigError, match="--allow-anyone"):
        await cluster.serve(everywhere, stop=asyncio.Event(), load=load_rememberer)
