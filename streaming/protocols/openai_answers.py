"""How OpenAI writes a transcription: five formats, and server-sent events.

Source: the OpenAI API reference. Pure: finals in, text out.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streaming.events import Final, Word
from streaming.protocols.adapter import Refusal
from streaming.protocols.rest import Page, Spoken, text_of
from streaming.protocols.subtitles import cues, srt, vtt

__all__ = ["LAYOUTS", "Events", "json_page", "writer"]

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_EVENTS = "text/event-stream; charset=utf-8"


def writer(layout: str, granularities: Sequence[str]) -> Callable[[Spoken], Page]:
    """What writes a format, with the times that are asked for."""
    if layout == "verbose_json":
        return lambda spoken: _verbose(spoken, granularities or ("segment",))
    return LAYOUTS[layout]


def json_page(value: Mapping[str, Any]) -> Page:
    """A page of JSON."""
    return Page(_JSON, json.dumps(value, ensure_ascii=False, allow_nan=False))


def _usage(spoken: Spoken) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(spoken.duration)}


def _plain(spoken: Spoken) -> Page:
    text = text_of(spoken.finals, spoken.space)
    return json_page({"text": text, "usage": _usage(spoken)})


def _verbose(spoken: Spoken, granularities: Sequence[str]) -> Page:
    value: dict[str, Any] = {
        "task": "transcribe",
        "language": spoken.language,
        "duration": round(spoken.duration, 3),
        "text": text_of(spoken.finals, spoken.space),
    }
    told = [final for final in spoken.finals if final.text]
    if "word" in granularities:
        value["words"] = [_word(word) for final in told for word in final.words]
    if "segment" in granularities:
        value["segments"] = [
            _segment(number, final) for number, final in enumerate(told)
        ]
    return json_page({**value, "usage": _usage(spoken)})


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": word.word,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
    }


def _segment(number: int, final: Final) -> dict[str, Any]:
    raw = final.text.encode()
    return {
        "id": number,
        "seek": round(final.start * 100),
        "start": round(final.start, 3),
        "end": round(final.end, 3),
        "text": final.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(math.log(max(final.confidence, 1e-6)), 4),
        "compression_ratio": round(len(raw) / len(zlib.compress(raw)), 4),
        "no_speech_prob": 0.0,  # the gate has heard speech
    }


LAYOUTS: dict[str, Callable[[Spoken], Page]] = {
    "json": _plain,
    "text": lambda spoken: Page(_TEXT, text_of(spoken.finals, spoken.space) + "\n"),
    "srt": lambda spoken: Page(_TEXT, srt(cues(spoken.finals))),
    "vtt": lambda spoken: Page(_TEXT, vtt(cues(spoken.finals))),
    "verbose_json": lambda spoken: _verbose(spoken, ("segment",)),
}


class Events:
    """Server-sent events: a delta for each final, so that they add up to the text.

    Args:
        refusal: says an error.
        space: what stands between two words.
    """

    kind = _EVENTS

    def __init__(self, refusal: Callable[[Exception], Refusal], space: str) -> None:
        self._refusal = refusal
        self._space = space
        self._begun = False

    def final(self, final: Final) -> str:
        """The words of a final, with the space before them."""
        if not final.text:
            return ""
        delta = final.text if not self._begun else self._space + final.text
        self._begun = True
        return _event({"type": "transcript.text.delta", "delta": delta})

    def end(self, spoken: Spoken) -> str:
        """The whole text."""
        text = text_of(spoken.finals, spoken.space)
        return _event(
            {"type": "transcript.text.done", "text": text, "usage": _usage(spoken)}
        )

    def broken(self, error: Exception) -> str:
        """An error as an event of its own."""
        return _event({"type": "error", **json.loads(self._refusal(error).body)})


def _event(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, allow_nan=False)}\n\n"
