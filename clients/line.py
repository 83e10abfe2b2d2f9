"""One session's connection, over its cuts: messages out, events in, each once.

After a cut it dials again and sends on from what the server has; what the server
says twice is heard once. Knows nothing of who waits for which answer.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator

import websockets
from websockets.asyncio.client import ClientConnection

from clients import errors
from clients.dialing import Address
from clients.events import (
    Ack,
    Configured,
    Event,
    Finished,
    Flushed,
    Ready,
    Reconnecting,
    Refused,
    Resumed,
)
from clients.kept import Kept
from clients.messages import parse
from clients.reconnect import Reconnect

__all__ = ["Line"]

FRAME_BYTES = {
    "pcm_s16le": 2,
    "pcm_s24le": 3,
    "pcm_f32le": 4,
    "mulaw": 1,
    "alaw": 1,
}
CUT, DONE, POLICY = 1006, 1000, 1008
TAKEN = "session_taken"


class Line:
    """The connection of a session.

    Args:
        address: where to dial.
        socket: open, `ready` read.
        ready: what it said.
        policy: how to come back; None is not at all.
        chance: draws the waits.

    Attributes:
        ready: what the server said last on opening.
        last_seq: number of the last message read.
        acknowledged: samples that the server has told it took over.
        kept: what may have to be sent again.
    """

    def __init__(
        self,
        address: Address,
        socket: ClientConnection,
        ready: Ready,
        policy: Reconnect | None,
        chance: random.Random | None = None,
    ) -> None:
        self.ready = ready
        self.last_seq = 0
        self.acknowledged = ready.received
        self._address = address
        self._socket = socket
        # A server that keeps no sessions cannot be come back to.
        self._policy = policy if ready.resume_window_s else None
        self._chance = chance or random.Random()
        frame = FRAME_BYTES.get(ready.encoding, 1) * ready.channels
        keep_s = policy.keep_s if policy else 0.0
        self.kept = Kept(frame, int(keep_s * ready.sample_rate) * frame)
        self._writing = asyncio.Lock()
        self._up = True  # what is sent goes to the socket
        self._stirred = asyncio.Event()  # there may be room
        self._pumping: asyncio.Task[None] | None = None
        self._last: Event = ready
        self._ended = False

    @property
    def late(self) -> int:
        """Samples that no server will hear: we came back after the window."""
        return 0 if self.ready.state == "open" else self.kept.samples

    # --- out ---------------------------------------------------------------

    async def room(self) -> None:
        """Wait until more audio may be kept, or the line has ended."""
        while self._policy and not self.kept.room and not self._ended:
            self._stirred.clear()
            await self._stirred.wait()

    async def pump(self) -> None:
        """Send what waits to be sent; while cut off, leave it for later.

        Raises:
            ConnectionClosed: the connection has ended for good.
        """
        async with self._writing:
            while self._up and (message := self.kept.next()) is not None:
                try:
                    await self._socket.send(message)
                except websockets.ConnectionClosed:
                    if self._policy is None:
                        raise
                    return
                if self._policy is None:
                    self.kept.forget_sent()

    async def say(self, message: str) -> None:
        """Send what need not arrive."""
        if self._up:
            try:
                await self._socket.send(message)
            except websockets.ConnectionClosed:
                if self._policy is None:
                    raise

    # --- in ----------------------------------------------------------------

    async def events(self) -> AsyncGenerator[Event, None]:
        """What the server says, and how the connection fares, until the end.

        Raises:
            ClientError: it ended otherwise than by `Finished`.
        """
        try:
            while True:
                async for event in self._hear():
                    yield event
                if self._has_ended():
                    break
                cut_at = asyncio.get_running_loop().time()
                self._up = False
                yield Reconnecting(self._how())
                yield await self._come_back(cut_at)
            if (failure := self._failure()) is not None:
                raise failure
        finally:
            self._ended = True
            self._up = False
            self._stirred.set()

    async def close(self) -> None:
        """Close the connection; no more is sent or heard."""
        if self._pumping is not None:
            self._pumping.cancel()
            await asyncio.wait([self._pumping])
        await self._socket.close()

    async def _hear(self) -> AsyncGenerator[Event, None]:
        """What comes over this connection, what was heard before left out."""
        while True:
            try:
                message = await self._receive()
            except websockets.ConnectionClosed:
                return
            seq, event = parse(message)
            if self._policy is not None and seq <= self.last_seq:
                continue
            if seq != self.last_seq + 1:
                raise errors.ProtocolBroken(f"message {seq} came after {self.last_seq}")
            self.last_seq, self._last = seq, event
            self._settle(event)
            yield event

    async def _receive(self) -> str | bytes:
        """The next message; a connection that went silent is cut."""
        if self._policy is None:
            return await self._socket.recv()
        while True:
            try:
                async with asyncio.timeout(self._policy.silence_s):
                    return await self._socket.recv()
            except TimeoutError:
                if self.kept.awaiting:
                    self._socket.transport.abort()

    def _settle(self, event: Event) -> None:
        match event:
            case Ack(received):
                self.acknowledged = max(self.acknowledged, received)
                self.kept.acknowledge(received)
            case Flushed() | Configured() | Refused():
                self.kept.answered()
            case _:
                return
        self._stirred.set()

    # --- cuts --------------------------------------------------------------

    def _has_ended(self) -> bool:
        """Is there nothing to come back to?"""
        if self._policy is None or isinstance(self._last, Finished):
            return True
        code = self._socket.close_code or CUT
        return code in (DONE, POLICY) or (
            code != CUT and isinstance(self._last, Refused)
        )

    def _failure(self) -> errors.ClientError | None:
        """How the session ended, from its last message and its close code."""
        if self.late:
            return errors.SessionLost(
                f"the session was finished while it was cut off: {self.late} samples "
                "came too late",
                acknowledged=self.acknowledged,
                lost=self.late,
            )
        code = self._socket.close_code or CUT
        match self._last:
            case Finished():
                return None
            case Refused(word, message):
                return errors.StreamFailed(message, code=word, close_code=code)
            case _ if self._socket.close_reason == TAKEN:
                return errors.StreamFailed(
                    "another connection has taken the session over",
                    code=TAKEN,
                    close_code=code,
                )
            case _:
                return self._lost(
                    f"the connection ended before the stream did ({self._how()})"
                )

    def _how(self) -> str:
        reason = self._socket.close_reason
        code = self._socket.close_code or CUT
        return f"close {code} {reason}" if reason else f"close {code}"

    def _lost(self, message: str) -> errors.ConnectionLost:
        return errors.ConnectionLost(message, acknowledged=self.acknowledged)

    async def _come_back(self, cut_at: float) -> Resumed:
        """Dial until the server has us back.

        Raises:
            SessionLost: it does not hold the session any more.
            ConnectionLost: nobody answered for too long.
            Rejected: it said no for good.
        """
        clock = asyncio.get_running_loop().time
        policy = self._expect_policy()
        parameters = {
            "session": self.ready.session,
            "token": self.ready.token,
            "after": self.last_seq,
        }
        for delay in policy.delays(self._chance):
            await asyncio.sleep(delay)
            try:
                socket, ready = await self._address.dial(parameters)
            except (errors.CannotConnect, errors.Rejected) as error:
                self._give_up_for(error)
                if clock() - cut_at > policy.patience_s:
                    raise self._lost(
                        f"cut off for {policy.patience_s:g} s; last: {error}"
                    ) from error
                continue
            again = await self._go_on(socket, ready)
            return Resumed(clock() - cut_at, ready.received, again)
        raise AssertionError("the delays have no end")

    def _give_up_for(self, error: errors.ClientError) -> None:
        """Raise what trying again does not mend."""
        if not isinstance(error, errors.Rejected):
            return
        if error.code == "session_lost":
            raise errors.SessionLost(
                str(error), acknowledged=self.acknowledged, lost=self.kept.samples
            ) from None
        if isinstance(error, errors.BadRequest | errors.Unauthorized):
            raise error

    async def _go_on(self, socket: ClientConnection, ready: Ready) -> int:
        """Take the new connection; returns the samples that are sent again."""
        self._socket = socket  # from here on it is closed with the line
        async with self._writing:
            self.ready = ready
            again = self.kept.rewind(ready.received, ready.commands)
            self.acknowledged = ready.received
            self._up = ready.state == "open"
        self._stirred.set()
        self._pumping = asyncio.create_task(self.pump())
        return again

    def _expect_policy(self) -> Reconnect:
        if self._policy is None:
            raise RuntimeError("a cut line without a way back was not ended")
        return self._policy
