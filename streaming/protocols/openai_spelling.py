"""How the Realtime API writes the settings of a session: nested, or flat in its beta.

Knows the fields and their order in both; not what may stand in them.
"""

from __future__ import annotations

from typing import Any

from streaming.protocols.adapter import Offer
from streaming.protocols.json_objects import Fields
from streaming.protocols.openai_settings import Settings

__all__ = ["beta_of", "nested", "shown_settings"]

_BETA_FORMATS = {
    "pcm16": "audio/pcm",
    "g711_ulaw": "audio/pcmu",
    "g711_alaw": "audio/pcma",
}


def nested(flat: Fields) -> dict[str, Any]:
    """A session of the beta as one of today."""
    names = {
        "input_audio_format": "format",
        "input_audio_transcription": "transcription",
        "input_audio_noise_reduction": "noise_reduction",
        "turn_detection": "turn_detection",
    }
    inner = {new: flat[old] for old, new in names.items() if old in flat}
    if isinstance(name := inner.get("format"), str):
        inner["format"] = {"type": _BETA_FORMATS.get(name, name)}
    rest = {name: value for name, value in flat.items() if name not in names}
    return {**rest, "audio": {"input": inner}}


def shown_settings(settings: Settings, offer: Offer) -> dict[str, Any]:
    """The effective settings, as `session.updated` tells them."""
    gate = settings.config(offer).gate
    turns = {
        "type": "server_vad",
        "threshold": 0.5 if settings.threshold is None else settings.threshold,
        "prefix_padding_ms": gate.pre_roll_ms,
        "silence_duration_ms": gate.hangover_ms,
    }
    return {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": settings.format, "rate": settings.rate},
                "transcription": {
                    "model": offer.model,
                    "language": settings.language or offer.languages[0],
                    "prompt": "",
                },
                "noise_reduction": None,
                "turn_detection": turns if settings.turns else None,
            }
        },
        "include": [],
    }


def beta_of(session: Fields) -> dict[str, Any]:
    """The same as the beta wrote it."""
    given = session["audio"]["input"]
    names = {new: old for old, new in _BETA_FORMATS.items()}
    return {
        "input_audio_format": names[given["format"]["type"]],
        "input_audio_transcription": given["transcription"],
        "input_audio_noise_reduction": given["noise_reduction"],
        "turn_detection": given["turn_detection"],
        "include": session["include"],
    }
