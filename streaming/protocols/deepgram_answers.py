"""How Deepgram writes what a recording says.

Source: Deepgram's API reference. Pure: finals in, JSON out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from streaming.events import Final, Word
from streaming.protocols.rest import Page, Spoken, text_of

__all__ = ["Asked", "page"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request shows in its answer.

    Attributes:
        request: its id.
        created: seconds since 1970 when it came.
        split_s: silence that parts two utterances; None where none are told.
        paragraphs: whether they are told: one for each utterance that was heard.
        warnings: parameters that change nothing.
    """

    request: str
    created: float
    split_s: float | None = None
    paragraphs: bool = False
    warnings: tuple[str, ...] = ()


def page(asked: Asked, spoken: Spoken) -> Page:
    """The answer."""
    value = {"metadata": _metadata(asked, spoken), "results": _results(asked, spoken)}
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return Page("application/json", text)


def _metadata(asked: Asked, spoken: Spoken) -> dict[str, Any]:
    model = str(uuid5(NAMESPACE_URL, f"wavestitch:{spoken.model}"))
    at = datetime.fromtimestamp(asked.created, UTC)
    value: dict[str, Any] = {
        "transaction_key": "deprecated",
        "request_id": asked.request,
        "sha256": spoken.sha256,
        "created": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "duration": round(spoken.duration, 4),
        "channels": spoken.channels,
        "models": [model],
        "model_info": {
            model: {"name": spoken.model, "version": "", "arch": "ctc"},
        },
    }
    if asked.warnings:
        value["warnings"] = [
            {
                "parameter": name,
                "type": "unsupported_parameter",
                "message": f"{name} changes nothing: the model writes plain words",
            }
            for name in asked.warnings
        ]
    return value


def _results(asked: Asked, spoken: Spoken) -> dict[str, Any]:
    channels = [
        [final for final in spoken.finals if final.channel == channel]
        for channel in range(spoken.channels)
    ]
    value: dict[str, Any] = {
        "channels": [
            {"alternatives": [_alternative(asked, finals, spoken.space)]}
            for finals in channels
        ]
    }
    if asked.split_s is not None:
        told = [
            utterance
            for channel, finals in enumerate(channels)
            for utterance in _utterances(asked, finals, channel, spoken.space)
        ]
        value["utterances"] = sorted(told, key=lambda each: float(each["start"]))
    return value


def _alternative(asked: Asked, finals: Sequence[Final], space: str) -> dict[str, Any]:
    words = [word for final in finals for word in final.words]
    value: dict[str, Any] = {
        "transcript": text_of(finals, space),
        "confidence": _confidence(words),
        "words": [_word(word) for word in words],
    }
    if asked.paragraphs:
        value["paragraphs"] = _paragraphs([final for final in finals if final.words])
    return value


def _paragraphs(finals: Sequence[Final]) -> dict[str, Any]:
    told = []
    for final in finals:
        start, end = round(final.words[0].start, 3), round(final.words[-1].end, 3)
        sentence = {"text": final.text, "start": start, "end": end}
        told.append(
            {
                "sentences": [sentence],
                "num_words": len(final.words),
                "start": start,
                "end": end,
            }
        )
    return {"transcript": "\n\n".join(f.text for f in finals), "paragraphs": told}


def _utterances(
    asked: Asked, finals: Sequence[Final], channel: int, space: str
) -> Iterator[dict[str, Any]]:
    begun: list[Word] = []
    number = 0
    for word in [word for final in finals for word in final.words] + [None]:
        parted = word is None or (
            begun and word.start - begun[-1].end >= (asked.split_s or 0)
        )
        if parted and begun:
            name = f"{asked.request}:{channel}:{number}"
            yield {
                "start": round(begun[0].start, 3),
                "end": round(begun[-1].end, 3),
                "confidence": _confidence(begun),
                "channel": channel,
                "transcript": space.join(each.word for each in begun),
                "words": [_word(each) for each in begun],
                "id": str(uuid5(NAMESPACE_URL, name)),
            }
            begun, number = [], number + 1
        if word is not None:
            begun.append(word)


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": word.word,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "confidence": round(word.confidence, 4),
        "punctuated_word": word.word,
    }


def _confidence(words: Sequence[Word]) -> float:
    return round(sum(each.confidence for each in words) / max(1, len(words)), 4)
