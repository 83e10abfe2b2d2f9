"""Paced streams over a websocket: what a caller sends, and what comes back when.

Audio goes at the pace of speech; every sample sent and every event received is
kept with its time. Knows the client library; does not know how a server starts.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.measures import Churn, Shown, churn, first_kept, shown
from benchmarks.samples import RATE, Sample, quiet_room
from clients import Event, Finished, Stream, Word, connect, exchange

__all__ = ["Call", "Measured", "call", "measure", "playlist"]

PIECE = RATE // 50
PAUSE_S = (0.2, 1.2)  # beside the quiet room that each sample has


def playlist(
    samples: Sequence[Sample], seed: int, seconds: float
) -> Iterator[tuple[npt.NDArray[np.int16], str]]:
    """Pieces of an endless conversation, each with what it says.

    Args:
        samples: to draw from.
        seed: the same one gives the same conversation.
        seconds: after these no new sample begins.
    """
    random = np.random.default_rng(seed)
    at = 0
    while at < seconds * RATE:
        sample = samples[int(random.integers(len(samples)))]
        pause = quiet_room(float(random.uniform(*PAUSE_S)), random)
        for audio, text in ((pause, ""), (sample.samples, sample.text)):
            at += len(audio)
            yield (
                (np.clip(np.rint(audio * 32_768), -32_768, 32_767)).astype("<i2"),
                text,
            )


@dataclass(slots=True)
class Call:
    """One stream: what was sent and what came, with the loop's times.

    Attributes:
        sent: samples sent so far, and when, a piece at a time.
        events: each with when it came.
        said: the texts of what was sent.
        late: seconds that each piece was sent after its time.
    """

    sent: list[tuple[int, float]] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def sent_at(self, seconds: float) -> float:
        """When the piece with the last sample before this place was sent."""
        # A time is told in three decimals, a sample is shorter.
        sample = round(seconds * RATE) - RATE // 2_000
        place = bisect_left(self.sent, (sample, float("-inf")))
        return self.sent[min(place, len(self.sent) - 1)][1]


async def call(
    url: str, pieces: Iterator[tuple[npt.NDArray[np.int16], str]], **asked: object
) -> Call:
    """Send a playlist at the pace of speech, and finish.

    Args:
        url: of the server.
        pieces: audio at 16 kHz, and texts.
        asked: parameters of the stream.

    Raises:
        ClientError: the stream did not end well.
    """
    done = Call()
    clock = asyncio.get_running_loop().time

    async def send(stream: Stream) -> None:
        began, samples = clock(), 0
        for piece in _messages(pieces, done.said):
            samples += len(piece)
            # A piece leaves when its last sample has been spoken.
            due = began + samples / RATE
            await asyncio.sleep(due - clock())
            done.late.append(clock() - due)
            await stream.send(piece.tobytes())
            done.sent.append((samples, clock()))
        await stream.finish()

    async with connect(url, **asked) as stream:  # type: ignore[arg-type]
        await exchange(
            stream, send(stream), lambda event: done.events.append((clock(), event))
        )
    return done


def _messages(
    pieces: Iterator[tuple[npt.NDArray[np.int16], str]], said: list[str]
) -> Iterator[npt.NDArray[np.int16]]:
    """The audio in messages of 20 ms; the last one may be shorter."""
    left = np.empty(0, np.int16)
    for piece, text in pieces:
        said += [text] if text else []
        left = np.concatenate((left, piece))
        whole = len(left) // PIECE * PIECE
        yield from left[:whole].reshape(-1, PIECE)
        left = left[whole:]
    if len(left):
        yield left


@dataclass(slots=True)
class Measured:
    """Latencies in seconds, and counts, of one call or of several.

    Attributes:
        partial: arrival of the last sample a partial covers -> the partial.
        first_word: onset -> first hypothesis with text.
        finalization: end of speech -> the final.
        after_hangover: the same, less the configured silence, of the utterances
            that silence ended.
        emission: end of a word -> first partial that keeps it.
        emission_with_finals: the same, with words that only the final showed.
        churn: what was taken back.
        finals: how many came.
        finals_full: made by a full pass.
        finals_missing: utterances that were announced and have none.
        audio_loss: samples sent that are neither decoded nor gated.
        dropped: of those, told as dropped.
        calls_unfinished: streams without their totals.
    """

    partial: list[float] = field(default_factory=list)
    first_word: list[float] = field(default_factory=list)
    finalization: list[float] = field(default_factory=list)
    after_hangover: list[float] = field(default_factory=list)
    emission: list[float] = field(default_factory=list)
    emission_with_finals: list[float] = field(default_factory=list)
    churn: Churn = field(default_factory=Churn)
    finals: int = 0
    finals_full: int = 0
    finals_missing: int = 0
    audio_loss: int = 0
    dropped: int = 0
    calls_unfinished: int = 0


LATENCIES = (
    "partial",
    "first_word",
    "finalization",
    "after_hangover",
    "emission",
    "emission_with_finals",
)


def measure(calls: Sequence[Call], hangover_s: float) -> Measured:
    """Measure finished calls, pooled."""
    total = Measured()
    for done in calls:
        for utterance in shown(done.events):
            _add(total, done, utterance, hangover_s)
        _account(total, done)
    return total


def _add(total: Measured, done: Call, one: Shown, hangover_s: float) -> None:
    for (at, _), end in zip(one.partials, one.ends, strict=True):
        total.partial.append(at - done.sent_at(end))
    spoken = next((at for at, words in one.hypotheses if words), None)
    if spoken is not None:
        total.first_word.append(spoken - done.sent_at(one.onset))
    final = one.final
    if final is None:
        total.finals_missing += 1
        return
    total.finals += 1
    total.finals_full += final.made_by == "full"
    total.churn += churn(
        [words for _, words in one.hypotheses], final.end - final.start
    )
    if one.speech_end is not None:
        waited = one.final_at - done.sent_at(one.speech_end)
        total.finalization.append(waited)
        if one.reason == "silence":
            total.after_hangover.append(waited - hangover_s)
    words = [word for word in final.words if isinstance(word, Word)]
    texts = [hypothesis for _, hypothesis in one.hypotheses]
    kept = first_kept(texts, [word.word for word in words])
    for word, place in zip(words, kept, strict=True):
        if place is None:
            continue
        waited = one.hypotheses[place][0] - done.sent_at(word.end)
        total.emission_with_finals.append(waited)
        if place < len(one.partials):
            total.emission.append(waited)


def _account(total: Measured, done: Call) -> None:
    sent = done.sent[-1][0] if done.sent else 0
    finished = [event for _, event in done.events if isinstance(event, Finished)]
    if not finished:
        total.calls_unfinished += 1
        total.audio_loss += sent
        return
    [totals] = finished[0].totals
    total.audio_loss += sent + totals.concealed - totals.decoded - totals.gated
    total.dropped += totals.dropped
