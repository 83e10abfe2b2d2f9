"""Turns of a Realtime conversation, each an item, and what is told of them.

Turns that the server finds are told as they happen; an end that the client set is told
when all before it is final. A delta can be added to and never taken back: it carries
the stable prefix, and what of the final goes on from there. Knows no JSON.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

from streaming.events import EndReason, Final, Partial, SpeechEnded, SpeechStarted

__all__ = ["Told", "Turn", "Turns"]

Told: TypeAlias = tuple[str, Mapping[str, Any]]  # type and fields of a message

Turn: TypeAlias = SpeechStarted | Partial | SpeechEnded | Final


@dataclass(slots=True)
class _Item:
    """A turn.

    Attributes:
        id: what clients join its events by.
        told: what its deltas add up to.
        cleared: the client threw its audio away.
    """

    id: str
    told: str = ""
    cleared: bool = False

    def grow(self, stable: str) -> str:
        """What a delta adds, given all that will not change; may be empty."""
        if not stable.startswith(self.told):
            return ""  # a full pass corrected it: `completed` tells
        delta = stable[len(self.told) :]
        self.told = stable
        return delta


@dataclass(slots=True)
class _Commit:
    """An end that the client set, until all before it is final.

    Attributes:
        item: of a turn that the client itself ends; None where the server finds them.
        clear: the audio is thrown away instead.
        covered: it ended a turn that the server had found.
    """

    item: _Item | None = None
    clear: bool = False
    covered: bool = False


class Turns:
    """The items of one session.

    Args:
        id: what the ids of its items begin with.
        news: types of the messages that tell of a new item.
    """

    def __init__(self, id: str, news: tuple[str, ...]) -> None:  # noqa: A002
        self._id = id
        self._news = news
        self._count = 0
        self._last: str | None = None
        self._open: dict[int, _Item] = {}  # by utterance, until its final
        self._commits: deque[_Commit] = deque()
        self._finals: list[Final] = []  # of a turn that the client will end

    # --- found by the server -----------------------------------------------

    def found(self, event: Turn, padding_ms: int) -> Iterator[Told]:
        """Tell what happens to a turn that the server found.

        Args:
            event: what happens.
            padding_ms: audio that is taken before a turn.
        """
        if event.utterance not in self._open:
            self._open[event.utterance] = self._item()
        item = self._open[event.utterance]
        match event:
            case SpeechStarted(at=at):
                start_ms = max(0, round(1_000 * at) - padding_ms)
                yield (
                    "input_audio_buffer.speech_started",
                    {"audio_start_ms": start_ms, "item_id": item.id},
                )
            case Partial(text=text, stable=stable):
                yield from _delta(item, text[:stable])
            case SpeechEnded():
                yield from self._stopped(item, event)
            case Final(text=text):
                del self._open[event.utterance]
                if not item.cleared:
                    yield from _delta(item, text)
                    yield _completed(item, text, event.end - event.start)
            case _:
                assert_never(event)

    def _stopped(self, item: _Item, event: SpeechEnded) -> Iterator[Told]:
        if event.reason is EndReason.FLUSH and self._commits:
            self._commits[0].covered = True
            item.cleared = self._commits[0].clear
        if item.cleared:
            return
        yield (
            "input_audio_buffer.speech_stopped",
            {"audio_end_ms": round(1_000 * event.at), "item_id": item.id},
        )
        yield from self._committed(item)

    # --- ended by the client -----------------------------------------------

    def heard(self, final: Final) -> None:
        """Keep what belongs to the turn that the client will end."""
        self._finals.append(final)

    def commit(self, *, found: bool) -> Iterator[Told]:
        """End a turn by the client; tell it, to be written when its turn has come.

        Args:
            found: the server finds the turns; the one that is open ends here.
        """
        if found:
            self._commits.append(_Commit())
            return iter(())
        item = self._item()
        self._commits.append(_Commit(item))
        return self._committed(item)

    def clear(self) -> None:
        """Throw away what came since the last end, by whomever it was set."""
        self._commits.append(_Commit(clear=True))

    def settled(self) -> Iterator[Told]:
        """All before the oldest end of the client is final."""
        commit = self._commits.popleft()
        finals, self._finals = self._finals, []
        if commit.clear:
            return
        if commit.item is not None:
            text = " ".join(final.text for final in finals if final.text)
            seconds = sum(final.end - final.start for final in finals)
            yield from _delta(commit.item, text)
            yield _completed(commit.item, text, seconds)
        elif not commit.covered:  # nobody spoke, but each commit makes an item
            item = self._item()
            yield from self._committed(item)
            yield _completed(item, "", 0.0)

    # --- items -------------------------------------------------------------

    def _item(self) -> _Item:
        self._count += 1
        return _Item(f"item_{self._id}_{self._count}")

    def _committed(self, item: _Item) -> Iterator[Told]:
        before, self._last = self._last, item.id
        yield (
            "input_audio_buffer.committed",
            {"item_id": item.id, "previous_item_id": before},
        )
        told = {
            "id": item.id,
            "object": "realtime.item",
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        for kind in self._news:
            yield kind, {"previous_item_id": before, "item": told}


_TRANSCRIPTION = "conversation.item.input_audio_transcription"


def _delta(item: _Item, stable: str) -> Iterator[Told]:
    if delta := item.grow(stable):
        yield (
            f"{_TRANSCRIPTION}.delta",
            {"item_id": item.id, "content_index": 0, "delta": delta},
        )


def _completed(item: _Item, transcript: str, seconds: float) -> Told:
    return (
        f"{_TRANSCRIPTION}.completed",
        {
            "item_id": item.id,
            "content_index": 0,
            "transcript": transcript,
            "usage": {"type": "duration", "seconds": round(seconds, 3)},
        },
    )
