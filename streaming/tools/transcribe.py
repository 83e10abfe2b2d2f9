"""Recordings to text: as a stream would be heard, or by whole passes.

Knows files and how two channels become one text; the hearing is in `playing.py`
and `onepass.py`. Opens no socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile

from streaming.config import AudioFormat, Config, Encoding, StreamConfig
from streaming.errors import UnsupportedAudio
from streaming.events import Final, Pass, Samples, Word
from streaming.numeric.resample import Resampler
from streaming.tools.onepass import Whole, one_passes
from streaming.tools.playing import Heard, Take, play
from streaming.tools.workbench import Workbench, open_workbench

__all__ = ["Mode", "Transcript", "read_samples", "transcribe", "transcripts"]

Mode: TypeAlias = Literal["streaming", "offline"]

_LOWEST, _HIGHEST = 8_000, 48_000  # samples a second that a stream may have
_PIECE_S = 0.1
_AHEAD = 16


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a recording says.

    Attributes:
        audio: its path, as given.
        text: its utterances, joined; of two channels in order of time.
        words: with seconds since its start, in the order of the text.
        duration: seconds.
        cut: it was too long for one pass, and was cut at silences.
        utterances: in order of time.
    """

    audio: str
    text: str
    words: tuple[Word, ...]
    duration: float
    cut: bool
    utterances: tuple[Final, ...]


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
    begun: deque[tuple[Path, int]] = deque()
    model_rate = bench.facts.geometry.sample_rate

    def takes() -> Iterator[Take]:
        for path in paths:
            take = _take(path, model_rate)
            begun.append((path, take.audio.sample_rate))
            yield take

    plain = replace(config, partials=False)
    for heard in play(bench, takes(), plain, ahead=_AHEAD):
        path, rate = begun.popleft()
        yield _transcript_of(path, rate, heard, bench.facts.vocabulary.space)


def _transcript_of(
    path: Path, rate: int, heard: Heard, space: str
) -> Transcript | UnsupportedAudio:
    match heard.error:
        case None:
            duration = heard.totals[0].received / rate
            return _told(path, heard.finals, duration, space=space, cut=False)
        case UnsupportedAudio() as error:
            named = str(path) in str(error)
            return error if named else UnsupportedAudio(f"{path}: {error}")
        case error:
            raise error


def _take(path: Path, model_rate: int) -> Take:
    """A recording as the client's file player would send it: 16 bits a sample."""
    try:
        sound = _open(path)
    except UnsupportedAudio as error:
        return Take(AudioFormat(), _raising(error))
    sent = sound.samplerate if _offered(sound.samplerate) else model_rate
    return Take(
        AudioFormat(Encoding.PCM_S16LE, sent, sound.channels),
        (_pcm(block) for block in _at_rate(_blocks(sound, path), sound, sent)),
    )


def _raising(error: Exception) -> Iterator[bytes]:
    raise error
    yield b""


def _pcm(block: npt.NDArray[np.float32]) -> bytes:
    whole = np.clip(np.rint(block * 32_768.0), -32_768, 32_767)
    return bytes(whole.astype("<i2").tobytes())


# --- by whole passes ---------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A file in memory: a channel each; of a bad one no samples, and why."""

    path: Path
    duration: float
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
        yield _told(file.path, finals, file.duration, space=space, cut=cut)


def read_samples(path: Path, rate: int) -> Samples:
    """A recording as `(n,)` at `rate`, its channels mixed.

    Raises:
        UnsupportedAudio: it cannot be read.
    """
    read = _read(path, rate)
    if read.error is not None:
        raise read.error
    mixed: Samples = np.mean(read.channels, axis=0, dtype=np.float32)
    return mixed


def _read(path: Path, rate: int) -> _Read:
    try:
        sound = _open(path)
        blocks = list(_at_rate(_blocks(sound, path), sound, rate))
    except UnsupportedAudio as error:
        return _Read(path, 0.0, (np.empty(0, np.float32),), error)
    empty = np.empty((0, sound.channels), np.float32)
    samples = np.concatenate((empty, *blocks))
    channels = tuple(np.ascontiguousarray(channel) for channel in samples.T)
    return _Read(path, len(samples) / rate, channels)


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


# --- files and texts ---------------------------------------------------------


def _open(path: Path) -> soundfile.SoundFile:
    try:
        sound = soundfile.SoundFile(path)
    except (OSError, soundfile.SoundFileError) as error:
        raise UnsupportedAudio(f"cannot read {path}: {_why(path, error)}") from None
    if sound.channels > 2:
        channels = sound.channels
        sound.close()
        raise UnsupportedAudio(f"cannot read {path}: {channels} channels, at most 2")
    return sound


def _blocks(
    sound: soundfile.SoundFile, path: Path
) -> Iterator[npt.NDArray[np.float32]]:
    """What is left of a file, `(n, channels)` at a time; closes it."""
    size = max(1, int(sound.samplerate * _PIECE_S))
    with sound:
        while True:
            try:
                block = sound.read(size, "float32", always_2d=True)
            except soundfile.SoundFileError as error:
                why = _why(path, error)
                raise UnsupportedAudio(f"cannot read {path}: {why}") from None
            if not len(block):
                return
            yield block


def _at_rate(
    blocks: Iterator[npt.NDArray[np.float32]], sound: soundfile.SoundFile, rate: int
) -> Iterator[npt.NDArray[np.float32]]:
    resamplers = [Resampler(sound.samplerate, rate) for _ in range(sound.channels)]
    for block in blocks:
        columns = zip(resamplers, block.T, strict=True)
        yield np.stack([each.push(np.array(column)) for each, column in columns], 1)
    yield np.stack([each.drain() for each in resamplers], axis=1)


def _offered(rate: int) -> bool:
    return _LOWEST <= rate <= _HIGHEST


def _why(path: Path, error: Exception) -> str:
    """The error without the path, which libsndfile says once more."""
    if not path.exists():
        return "no such file"
    if path.is_dir():
        return "is a folder"
    if path.is_file() and not path.stat().st_size:
        return "the file is empty"
    why = str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
    if why == "Format not recognised":
        return (
            "not a recording that libsndfile reads: expected WAV, FLAC, Ogg, MP3, ..."
        )
    return why


def _told(
    path: Path, finals: Iterable[Final], duration: float, *, space: str, cut: bool
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
        duration=duration,
        cut=cut,
        utterances=tuple(numbered),
    )
