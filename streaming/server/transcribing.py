"""One recording from request to answer: taken in, heard, written.

The order of things: what can be refused is refused before the body is read, and
nothing is answered before the recording is known to be one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

from streaming.config import Config
from streaming.errors import BadRequest, WavestitchError
from streaming.events import Final
from streaming.protocols.adapter import Offer, Opening
from streaming.protocols.form import Form, boundary_of
from streaming.protocols.rest import Order, Rest, Spoken
from streaming.server.backend import Backend
from streaming.server.decoding import decoded
from streaming.server.exchange import Exchange
from streaming.server.hearing import Hearing, Spend, in_order
from streaming.server.metrics import Metrics
from streaming.server.passing import PassLine
from streaming.server.standing import Standing
from streaming.server.uploads import Upload, uploading

__all__ = ["Room", "Transcribing"]


@dataclass(frozen=True, slots=True)
class Room:
    """What all recordings share.

    Attributes:
        config: the limits, and what a recording is heard with.
        standing: whether there is room, and for what.
        metrics: where they count.
        clock: seconds, the engine's too.
        line: in which their full passes wait.
    """

    config: Config
    standing: Standing
    metrics: Metrics
    clock: Callable[[], float]
    line: PassLine

    def expect_backend(self) -> Backend:
        """What hears one more.

        Raises:
            Overloaded: not now.
        """
        backend = self.standing.expect_backend()
        self.standing.load.admit(0)
        return backend


class Transcribing:
    """One recording.

    Args:
        rest: its dialect.
        opening: its request, the key left out.
        room: what it shares with the others.
    """

    def __init__(self, rest: Rest, opening: Opening, room: Room) -> None:
        self._rest = rest
        self._opening = opening
        self._room = room
        self._hearing: Hearing | None = None
        self._stopped: WavestitchError | None = None

    def stop(self, error: WavestitchError) -> None:
        """End it with an error."""
        self._stopped = error
        if self._hearing is not None:
            self._hearing.stop(error)

    async def run(self, exchange: Exchange, spend: Spend) -> None:
        """Answer the request.

        Args:
            exchange: the request.
            spend: counts the seconds that are heard; says when it is too many.

        Raises:
            WavestitchError: it is to be refused so.
        """
        backend = self._room.expect_backend()
        offer = backend.offer(self._room.config.stream)
        order, form = self._opened(offer, exchange.headers)
        with uploading() as upload:
            await upload.take(exchange.body(), form)
            if order is None:
                order = self._rest.open(self._opening, offer, upload.fields)
            if self._stopped is not None:
                raise self._stopped
            await self._hear(backend, order, upload, exchange, spend)

    def _opened(
        self, offer: Offer, headers: Mapping[str, str]
    ) -> tuple[Order | None, Form | None]:
        """The order, where the head of the request says it all; else its form."""
        coding = headers.get("content-encoding", "identity").lower()
        if coding != "identity":
            raise BadRequest(f"content-encoding must be identity, got {coding[:40]!r}")
        if self._rest.form:
            return None, Form(boundary_of(headers.get("content-type", "")))
        return self._rest.open(self._opening, offer, ()), None

    async def _hear(
        self,
        backend: Backend,
        order: Order,
        upload: Upload,
        exchange: Exchange,
        spend: Spend,
    ) -> None:
        facts, room = backend.facts, self._room
        audio, pieces = await decoded(
            upload.file,
            order.raw,
            rate=facts.geometry.sample_rate,
            mixed=order.mixed,
        )
        config = replace(order.config, audio=audio)
        hearing = Hearing(
            backend,
            config,
            room.config.limits,
            room.metrics,
            room.clock,
            spend,
            room.line,
        )
        self._hearing = hearing

        def spoken(finals: list[Final]) -> Spoken:
            return Spoken(
                finals=in_order(finals),
                duration=hearing.duration,
                channels=audio.channels,
                sha256=upload.sha256,
                model=facts.name,
                language=config.language or facts.language,
                space=facts.vocabulary.space,
            )

        finals: list[Final] = []

        async def heard() -> AsyncGenerator[Final, None]:
            async with aclosing(hearing.finals(pieces)) as coming:
                async for final in coming:
                    finals.append(final)
                    yield final

        if order.telling is None:
            await _page(exchange, order, heard(), lambda: spoken(finals))
        else:
            await _events(exchange, order, heard(), lambda: spoken(finals))


async def _page(
    exchange: Exchange,
    order: Order,
    heard: AsyncGenerator[Final, None],
    spoken: Callable[[], Spoken],
) -> None:
    async for _ in heard:
        pass
    page = order.page(spoken())
    headers = {"Content-Type": page.kind, "Cache-Control": "no-store"}
    await exchange.answer(200, page.text.encode(), {**headers, **order.headers})


async def _events(
    exchange: Exchange,
    order: Order,
    heard: AsyncGenerator[Final, None],
    spoken: Callable[[], Spoken],
) -> None:
    """Write finals as they are there; of two channels, once their order is known."""
    telling = order.telling
    if telling is None:
        raise RuntimeError("nothing writes this answer piece by piece")
    headers = {"Content-Type": telling.kind, "Cache-Control": "no-store"}
    await exchange.begin(200, {**headers, **order.headers})
    try:
        async with aclosing(heard):
            async for final in heard:
                if spoken().channels == 1:
                    await exchange.send(telling.final(final).encode())
        whole = spoken()
        for final in whole.finals if whole.channels > 1 else ():
            await exchange.send(telling.final(final).encode())
        said = telling.end(whole)
    except WavestitchError as error:
        said = telling.broken(error)
    await exchange.send(said.encode())
    await exchange.end()
