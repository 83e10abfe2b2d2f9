"""The neighbours benchmark: what it tells, and that its company is really bad."""

from __future__ import annotations

import asyncio
import random

import pytest
from websockets.asyncio.server import serve

from benchmarks.neighbours import COMPANY, told


def test_the_ratio_is_of_the_p95_beside_that_of_those_alone():
    rows = told({"alone": [0.010] * 95 + [0.020] * 5, "flood": [0.011] * 100})

    assert [1.0, pytest.approx(1.1)] == [row["p95_over_alone"] for row in rows]
    assert ["alone", "flood"] == [row["beside"] for row in rows]


def test_without_partials_there_is_no_ratio():
    rows = told({"alone": [], "flood": [0.011]})

    assert [None, None] == [row["p95_over_alone"] for row in rows]


@pytest.mark.parametrize("kind", COMPANY)
async def test_the_company_sends_what_it_is_named_for(kind):
    heard: list[str | bytes] = []
    enough = asyncio.Event()

    async def hear(line):
        async for message in line:
            heard.append(message)
            if len(heard) > {"flood": 50, "garbage": 3, "slow reader": 1}[kind]:
                enough.set()

    async with serve(hear, "127.0.0.1", 0, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}"
        company = asyncio.create_task(COMPANY[kind](url, random.Random(1)))
        async with asyncio.timeout(30):
            await enough.wait()
        company.cancel()
        await asyncio.gather(company, return_exceptions=True)
    texts = [message for message in heard if isinstance(message, str)]
    assert bool(texts) is (kind == "garbage")
