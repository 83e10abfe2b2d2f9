"""The tracks of one call on one clock: in order, aligned, gaps filled and counted.

Media messages carry one track each, a timestamp of milliseconds and a running number.
Out come samples of all tracks interleaved. Timestamps place audio only where they
leave a gap: senders round them, and some write when they sent it. Knows no JSON.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from streaming.config import AudioFormat, Encoding
from streaming.errors import ProtocolError
from streaming.events import Audio

__all__ = ["Media", "Timeline"]

_TOLERANCE_MS = 20  # one frame of a telephone
_WAIT_MS = 200  # for a frame that others overtook, or for the other track
_MOST_HELD = 64  # messages, were they empty
_RESYNC_MS = 30_000  # a longer gap is a clock that was set anew
_PIECE_MS = 500  # no event may hold the session for longer

# What each encoding writes for no sound.
_SILENCE = {Encoding.MULAW: b"\xff", Encoding.ALAW: b"\xd5"}


@dataclass(frozen=True, slots=True)
class Media:
    """What one message carries.

    Attributes:
        track: channel that it belongs to, from 0.
        data: whole samples.
        at_ms: where it belongs; None for after the one before.
        number: its place among the messages of its track, where messages may overtake
            each other; None where they do not.
    """

    track: int
    data: bytes
    at_ms: int | None = None
    number: int | None = None


class Timeline:
    """Takes the media messages of one call.

    Args:
        audio: what the tracks are written in; a channel for each.
    """

    def __init__(self, audio: AudioFormat) -> None:
        self._audio = audio
        self._width = audio.encoding.width
        self._silence = _SILENCE.get(audio.encoding, bytes(self._width))
        self._tracks = [_Track() for _ in range(audio.channels)]
        self._given = 0  # samples of each track that went out
        self._origin: int | None = None  # the sender's clock where ours began

    def add(self, media: Media) -> list[Audio]:
        """Take a message; return what is whole now.

        Raises:
            ProtocolError: its bytes are no whole samples.
        """
        if len(media.data) % self._width:
            raise ProtocolError(
                f"a payload must be whole samples of {self._width} bytes, "
                f"got {len(media.data)} bytes"
            )
        track = self._tracks[media.track]
        late = 0
        if track.knows(media):
            late = self._samples(media)  # twice, or after it was given up
        for each in track.sort(media, self._of_ms(_WAIT_MS) * self._width):
            late += self._place(track, each)
        ends = [each.end for each in self._tracks]
        until = max(min(ends), max(ends) - self._of_ms(_WAIT_MS))
        return [*self._give(until), *self._told(media.track, late)]

    def drain(self) -> list[Audio]:
        """Give all that came; nothing follows."""
        late = [0] * len(self._tracks)
        for number, track in enumerate(self._tracks):
            for each in track.rest():
                late[number] += self._place(track, each)
        events = self._give(max(track.end for track in self._tracks))
        return [*events, *([Audio(b"", late=tuple(late))] if any(late) else [])]

    # --- places ------------------------------------------------------------

    def _place(self, track: _Track, media: Media) -> int:
        """Put a message after its track's end; return how many samples came late."""
        ahead = self._ahead(track, media)
        tolerance = self._of_ms(_TOLERANCE_MS)
        late = 0
        if ahead >= tolerance:
            self._conceal(track, ahead)
            track.lent = 0
        elif ahead > -tolerance:
            track.lent = 0
        else:
            late = min(self._samples(media), -ahead, track.lent)
            track.lent -= late
        track.data += media.data[late * self._width :]
        track.end += self._samples(media) - late
        return late

    def _ahead(self, track: _Track, media: Media) -> int:
        """Samples from the track's end to where the sender puts this."""
        if media.at_ms is None:
            return 0
        at = self._of_ms(media.at_ms)
        if self._origin is None:
            self._origin = at
        ahead = at - self._origin - track.end
        if abs(ahead) > self._of_ms(_RESYNC_MS):
            self._origin += ahead
            return 0
        return ahead

    def _conceal(self, track: _Track, count: int) -> None:
        track.data += self._silence * count
        track.concealed.append((track.end, track.end + count))
        track.end += count

    # --- out ---------------------------------------------------------------

    def _give(self, until: int) -> list[Audio]:
        if until <= self._given:
            return []
        for track in self._tracks:
            if track.end < until:
                track.lent += until - track.end
                self._conceal(track, until - track.end)
        return list(self._pieces(until))

    def _pieces(self, until: int) -> Iterator[Audio]:
        while self._given < until:
            start = self._given
            self._given = min(until, start + self._of_ms(_PIECE_MS))
            size = (self._given - start) * self._width
            data = _interleaved(
                [track.take(size) for track in self._tracks], self._width
            )
            made_up = tuple(track.made_up(self._given) for track in self._tracks)
            yield Audio(data, concealed=made_up if any(made_up) else ())

    def _told(self, track: int, late: int) -> list[Audio]:
        counts = [0] * len(self._tracks)
        counts[track] = late
        return [Audio(b"", late=tuple(counts))] if late else []

    def _samples(self, media: Media) -> int:
        return len(media.data) // self._width

    def _of_ms(self, milliseconds: int) -> int:
        return milliseconds * self._audio.sample_rate // 1_000


@dataclass(slots=True)
class _Track:
    """One side of the call.

    Attributes:
        end: samples on the clock up to which it is known or made up.
        data: what of them did not go out.
        concealed: stretches made up, in that.
        lent: samples made up because the other track went on; what comes for them
            now is late.
        next: number of the message that is due.
        held: messages that overtook it.
    """

    end: int = 0
    data: bytearray = field(default_factory=bytearray)
    concealed: deque[tuple[int, int]] = field(default_factory=deque)
    lent: int = 0
    next: int | None = None
    held: dict[int, Media] = field(default_factory=dict)

    def knows(self, media: Media) -> bool:
        """A message of this number came, or is waited for no more."""
        if media.number is None or self.next is None:
            return False
        return media.number < self.next or media.number in self.held

    def sort(self, media: Media, most_bytes: int) -> Iterator[Media]:
        """Give what is in order now; wait for the rest until so much is held."""
        if media.number is None:
            yield media
            return
        if self.knows(media):
            return
        if self.next is None:
            self.next = min(1, media.number)  # the senders count from 1
        self.held[media.number] = media
        size = sum(len(each.data) for each in self.held.values())
        if size > most_bytes or len(self.held) > _MOST_HELD:
            self.next = min(self.held)
        while self.next in self.held:
            yield self.held.pop(self.next)
            self.next += 1

    def rest(self) -> list[Media]:
        """Give what is held, in order."""
        held, self.held = self.held, {}
        return [held[number] for number in sorted(held)]

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        data = bytes(self.data[:size])
        del self.data[:size]
        return data

    def made_up(self, until: int) -> int:
        """Samples made up before `until` that were not asked for yet."""
        count = 0
        while self.concealed and self.concealed[0][0] < until:
            start, end = self.concealed.popleft()
            count += min(end, until) - start
            if end > until:
                self.concealed.appendleft((until, end))
        return count


def _interleaved(tracks: list[bytes], width: int) -> bytes:
    if len(tracks) == 1:
        return tracks[0]
    samples = [np.frombuffer(track, np.uint8).reshape(-1, width) for track in tracks]
    return np.stack(samples, axis=1).tobytes()
