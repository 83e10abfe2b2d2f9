"""Recordings to text: as a stream would be heard, or by whole passes.

Knows how two channels become one text; the hearing is in `playing.py` and
`onepass.py`, files in `numeric/recordings.py`. No socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from streaming.config import AudioFormat, Config, StreamConfig
from streaming.errors import UnsupportedAudio
from streaming.events import Final, Pass, Samples, Word
from streaming.numeric.recordings import Recording
from streaming.tools.onepass import Whole, one_passes
from streaming.tools.playing import Heard, Take, play
from streaming.tools.workbench import Workbench, open_workbench

__all__ = ["Mode", "Transcript", "transcribe", "transcripts"]

Mode: TypeAlias = Literal["streaming", "offline"]

_AHEAD = 16


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a recording says.

    Attributes:
        audio: its path, as given.
        text: its utterances, joined; of two channels in order of time.
        words: with seconds since its start, in the order of the text.
        duration: seconds.
        announced: seconds that its header promises, more where it was cut short.
        cut: it was too long for one pass, and was cut at silences.
        utterances: in order of time.
    """

    audio: str
    text: str
    words: tuple[Word, ...]
    duration: float
    announced: float
    cut: bool
    utterances: tuple[Final, ...]

    @property
    def missing(self) -> float:
        """Seconds that the header promises and the recording lacks.

        0.0 within what rounding and headers that estimate may differ by.
        """
        lacking = self.announced - self.duration
        return lacking if lacking > max(0.1, self.announced / 100) else 0.0


def transcribe(
    paths: Sequence[Path], *, config: Config, mode: Mode
) -> Iterator[Transcript]:
    """Transcribe recordings, in order, each as soon as it is done.

    Args:
        paths: anything that libsndfile reads, one or two channels.
        config: which model, and what a stream gets.
        mode: `streaming` runs the session and the engine that the server runs;
            `offline` decodes a file in one full-context pass.

    Raises:
        UnsupportedAudio: at the end, naming every file that could not be read.
        ConfigError, ModelError: the model cannot be loaded or run.
    """
    failed: list[UnsupportedAudio] = []
    with open_workbench(config) as bench:
        for done in transcripts(bench, paths, config.stream, mode):
            if isinstance(done, UnsupportedAudio):
                failed.append(done)
            else:
                yield done
    if failed:
        raise UnsupportedAudio("; ".join(map(str, failed)))


def transcripts(
    bench: Workbench, paths: Iterable[Path], config: StreamConfig, mode: Mode
) -> Iterator[Transcript | UnsupportedAudio]:
    """As `transcribe`, on an open workbench; the error of a bad file in its place."""
    if mode == "streaming":
        yield from _streamed(bench, paths, config)
    else:
        yield from _offline(bench, paths, config.gate.hangover_ms / 1_000)


# --- as a stream -------------------------------------------------------------


def _streamed(
    bench: Workbench, paths: Iterable[Path], config: StreamConfig
) -> Iterator[Transcript | UnsupportedAudio]:
    begun: deque[tuple[Path, int, float]] = deque()
    model_rate = bench.facts.geometry.sample_rate

    def takes() -> Iterator[Take]:
        for path in paths:
            take, announced = _take(path, model_rate)
            begun.append((path, take.audio.sample_rate, announced))
            yield take

    plain = replace(config, partials=False)
    for heard in play(bench, takes(), plain, ahead=_AHEAD):
        path, rate, announced = begun.popleft()
        lengths = (heard.totals[0].received / rate, announced)
        yield _transcript_of(path, lengths, heard, bench.facts.vocabulary.space)


def _transcript_of(
    path: Path, lengths: tuple[float, float], heard: Heard, space: str
) -> Transcript | UnsupportedAudio:
    match heard.error:
        case None:
            return _told(path, heard.finals, lengths, space=space, cut=False)
        case UnsupportedAudio() as error:
            named = str(path) in str(error)
            return error if named else UnsupportedAudio(f"{path}: {error}")
        case error:
            raise error


def _take(path: Path, model_rate: int) -> tuple[Take, float]:
    """A recording as the client's file player would send it: 16 bits a sample.

    And the seconds that its header promises.
    """
    try:
        recording = Recording(path)
    except UnsupportedAudio as error:
        return Take(AudioFormat(), _raising(error)), 0.0
    return Take(*recording.pcm(model_rate)), recording.announced


def _raising(error: Exception) -> Iterator[bytes]:
    raise error
    yield b""


# --- by whole passes ---------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A file in memory: a channel each; of a bad one no samples, and why."""

    path: Path
    duration: float
    announced: float
    channels: tuple[Samples, ...]
    error: UnsupportedAudio | None = None


def _offline(
    bench: Workbench, paths: Iterable[Path], pause_s: float
) -> Iterator[Transcript | UnsupportedAudio]:
    files: deque[_Read] = deque()

    def channels() -> Iterator[Samples]:
        for path in paths:
            file = _read(path, bench.facts.geometry.sample_rate)
            files.append(file)
            yield from file.channels

    space = bench.facts.vocabulary.space
    passes = one_passes(bench, channels())
    for first in passes:
        file = files.popleft()
        wholes = [first, *(next(passes) for _ in file.channels[1:])]
        if file.error is not None:
            yield file.error
            continue
        finals = [
            final
            for channel, whole in enumerate(wholes)
            for final in _utterances(whole, channel, pause_s, space)
        ]
        cut = any(whole.pieces > 1 for whole in wholes)
        lengths = (file.duration, file.announced)
        yield _told(file.path, finals, lengths, space=space, cut=cut)


def _read(path: Path, rate: int) -> _Read:
    try:
        recording = Recording(path)
        samples = np.concatenate(list(recording.blocks(rate)))
    except UnsupportedAudio as error:
        return _Read(path, 0.0, 0.0, (np.empty(0, np.float32),), error)
    channels = tuple(np.ascontiguousarray(channel) for channel in samples.T)
    return _Read(path, len(samples) / rate, recording.announced, channels)


def _utterances(
    whole: Whole, channel: int, pause_s: float, space: str
) -> Iterator[Final]:
    """Words of one pass, parted where a stream would have heard an endpoint."""
    begun: list[Word] = []
    for word in whole.words:
        if begun and word.start - begun[-1].end >= pause_s:
            yield _final(begun, channel, space)
            begun = []
        begun.append(word)
    if begun:
        yield _final(begun, channel, space)


def _final(words: Sequence[Word], channel: int, space: str) -> Final:
    return Final(
        channel=channel,
        utterance=0,
        text=space.join(word.word for word in words),
        start=words[0].start,
        end=words[-1].end,
        confidence=sum(word.confidence for word in words) / len(words),
        made_by=Pass.FULL,
        words=tuple(words),
    )


# --- texts -------------------------------------------------------------------


def _told(
    path: Path,
    finals: Iterable[Final],
    lengths: tuple[float, float],
    *,
    space: str,
    cut: bool,
) -> Transcript:
    ordered = sorted(finals, key=lambda final: (final.start, final.channel))
    counts: dict[int, int] = {}
    numbered = []
    for final in ordered:
        number = counts.setdefault(final.channel, 0)
        counts[final.channel] += 1
        numbered.append(replace(final, utterance=number))
    return Transcript(
        audio=str(path),
        text=space.join(final.text for final in numbered if final.text),
        words=tuple(word for final in numbered for word in final.words),
        duration=lengths[0],
        announced=lengths[1],
        cut=cut,
        utterances=tuple(numbered),
    )
