"""A process that dies is started again, but for good reasons not to."""

from __future__ import annotations

import asyncio

import pytest

from streaming.cluster.keeping import Keeper
from streaming.errors import ModelError
from tests.server.scripted import until


class FakeChild:
    """Runs until told how it ends."""

    name = "engine-0"
    error = None

    def __init__(self):
        self.ending = asyncio.get_running_loop().create_future()
        self.killed = False

    async def wait(self):
        return await asyncio.shield(self.ending)

    def kill(self):
        self.killed = True
        self.end(-9)

    def end(self, status=1):
        self.ending.set_result(status)


class Nursery:
    def __init__(self):
        self.born = asyncio.Queue()
        self.gone = []
        self.failures = []
        self.keeper = Keeper(self.start, self.gone.append)
        self.warm = True
        self.keeping = asyncio.create_task(self.keeper.keep(lambda: self.warm))

    def start(self):
        if self.failures:
            raise self.failures.pop()
        child = FakeChild()
        self.born.put_nowait(child)
        return child


@pytest.fixture
async def nursery():
    nursery = Nursery()
    yield nursery
    nursery.keeping.cancel()
    await asyncio.gather(nursery.keeping, return_exceptions=True)


async def test_who_dies_is_started_again_at_once(nursery, caplog):
    first = await nursery.born.get()
    first.end(-11)

    second = await nursery.born.get()

    assert second is nursery.keeper.child
    assert [first] == nursery.gone
    assert "engine-0 ended, by SIGSEGV: it is started again" in caplog.text


async def test_who_dies_again_is_waited_with_until_it_is_not_wanted(nursery):
    for _ in range(2):
        (await nursery.born.get()).end()
    await until(lambda: len(nursery.gone) == 2)

    assert nursery.keeper.child is None
    nursery.keeper.let_go()

    async with asyncio.timeout(0.9):  # it would have waited for 1 s
        await nursery.keeping
    assert nursery.born.empty()


async def test_what_is_not_wanted_any_more_may_end(nursery):
    child = await nursery.born.get()
    nursery.keeper.let_go()
    assert not nursery.keeping.done()
    child.end(0)

    await nursery.keeping


async def test_what_never_started_is_the_error(nursery):
    nursery.warm = False
    child = await nursery.born.get()
    child.error = ModelError("no weights")
    child.end()

    with pytest.raises(ModelError, match="no weights"):
        await nursery.keeping


async def test_without_room_for_a_process_it_is_tried_again(nursery, caplog):
    child = await nursery.born.get()
    nursery.failures.append(OSError(11, "no more processes"))
    child.end()

    await until(lambda: "no more processes" in caplog.text)
    assert not nursery.keeping.done()


async def test_a_cancelled_keeper_leaves_no_process(nursery):
    child = await nursery.born.get()
    nursery.keeping.cancel()
    await asyncio.gather(nursery.keeping, return_exceptions=True)

    assert child.killed
    assert [child] == nursery.gone
