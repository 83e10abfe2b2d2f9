"""Finals to subtitles: cues of a readable length, written as SRT or WebVTT.

Pure: finals in, text out. Limits are those that broadcasters ask for (BBC
Subtitle Guidelines; Netflix Timed Text Style Guide): two lines of 42 characters,
at most 7 seconds. Sources of the formats: SubRip, W3C WebVTT.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streaming.events import Final, Word

__all__ = ["Cue", "cues", "srt", "vtt"]

LINE = 42
LINES = 2
LONGEST_MS = 7_000
PAUSE_MS = 800


@dataclass(frozen=True, slots=True)
class Cue:
    """A piece of text and when it is shown, in milliseconds."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    channel: int = 0


def cues(finals: Sequence[Final]) -> list[Cue]:
    """Cut finals into cues, in order of time; within a channel none overlap.

    A cue ends where it is full (lines or seconds) and at pauses. Words longer
    than a line stand alone.
    """
    found: list[Cue] = []
    for final in sorted(finals, key=lambda final: (final.start, final.channel)):
        whole = Word(final.text, final.start, final.end, final.confidence)
        words = [word for word in final.words or _spread(whole) if word.word]
        found += _cut(words, final.channel)
    return sorted(_apart(found), key=lambda cue: (cue.start_ms, cue.channel))


def srt(cues: Sequence[Cue]) -> str:
    """SubRip: numbered cues, comma before the milliseconds."""
    several = len({cue.channel for cue in cues}) > 1
    return "\n".join(
        f"{number}\n{_time(cue.start_ms, ',')} --> {_time(cue.end_ms, ',')}\n"
        + "\n".join(_told(cue, several))
        + "\n"
        for number, cue in enumerate(cues, 1)
    )


def vtt(cues: Sequence[Cue]) -> str:
    """WebVTT: a header, full stop before the milliseconds, `&`, `<`, `>` escaped."""
    several = len({cue.channel for cue in cues}) > 1
    return "WEBVTT\n" + "".join(
        f"\n{_time(cue.start_ms, '.')} --> {_time(cue.end_ms, '.')}\n"
        + "\n".join(html.escape(line, quote=False) for line in _told(cue, several))
        + "\n"
        for cue in cues
    )


def _cut(words: Sequence[Word], channel: int) -> Iterator[Cue]:
    begun: list[Word] = []
    for word in words:
        if begun and not _fits(begun, word):
            yield _cue(begun, channel)
            begun = []
        begun.append(word)
    if begun:
        yield _cue(begun, channel)


def _fits(begun: Sequence[Word], word: Word) -> bool:
    return (
        _ms(word.end) - _ms(begun[0].start) <= LONGEST_MS
        and _ms(word.start) - _ms(begun[-1].end) < PAUSE_MS
        and len(_lines([*begun, word])) <= LINES
    )


def _cue(words: Sequence[Word], channel: int) -> Cue:
    start = _ms(words[0].start)
    # A cue of no length is shown by no player.
    end = max(_ms(words[-1].end), start + 1)
    return Cue(start, end, tuple(_lines(words)), channel)


def _lines(words: Sequence[Word]) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word.word) <= LINE:
            lines[-1] += f" {word.word}"
        else:
            lines.append(word.word)
    return lines


def _apart(cues: Sequence[Cue]) -> Iterator[Cue]:
    """Let each cue end where the next of its channel begins, at the latest."""
    shown: dict[int, int] = {}
    for cue in cues:
        start = max(cue.start_ms, shown.get(cue.channel, 0))
        end = max(cue.end_ms, start + 1)
        shown[cue.channel] = end
        yield Cue(start, end, cue.lines, cue.channel)


def _spread(whole: Word) -> Iterator[Word]:
    """Words of a final that came without their times: shares of its length."""
    words = whole.word.split()
    step = (whole.end - whole.start) / max(1, len(words))
    for place, word in enumerate(words):
        start = whole.start + place * step
        yield Word(word, start, start + step, whole.confidence)


def _told(cue: Cue, several: bool) -> tuple[str, ...]:
    if not several:
        return cue.lines
    return (f"{cue.channel}: {cue.lines[0]}", *cue.lines[1:])


def _time(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{milliseconds:03d}"


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
