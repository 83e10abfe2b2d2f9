"""The native protocol's options: query parameters and the fields of `configure`.

One table says how each is read; ranges are those of the config, so that the
command line and the wire refuse the same values in the same words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from streaming.config import (
    AudioFormat,
    DecoderConfig,
    Encoding,
    Finals,
    GateConfig,
    StreamConfig,
)
from streaming.errors import BadRequest, ConfigError
from streaming.events import Configure
from streaming.protocols.adapter import Offer, Resume

__all__ = [
    "PARAMETERS",
    "offered_language",
    "parse_configure",
    "parse_query",
    "shown",
]

Reader: TypeAlias = Callable[[str, str], Any]

_LONGEST_SHOWN = 80
_MOST_PARAMETERS = 64


def shown(value: object) -> str:
    """What came, quoted and short, safe to send back whatever it holds."""
    text = ascii(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _refuse(name: str, allowed: str, got: object) -> BadRequest:
    return BadRequest(f"{name} must be {allowed}, got {shown(got)}")


# --- values of the query, which are text -----------------------------------


def _whole(name: str, text: str) -> int:
    # Nine digits hold every allowed value; int() would take "1_0" and " 1".
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise _refuse(name, "a whole number", text)
    return int(text)


def _real(name: str, text: str) -> float:
    if not re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise _refuse(name, "a number", text)
    return float(text)


def _truth(name: str, text: str) -> bool:
    # Case is free: Python's clients send True where JavaScript's send true.
    match text.lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise _refuse(name, "true or false", text)


def _text(name: str, text: str) -> str:
    if not 1 <= len(text) <= 256:
        raise _refuse(name, "1 to 256 characters", text)
    return text


def _one_of(kind: type[Encoding] | type[Finals]) -> Reader:
    def read(name: str, text: str) -> Encoding | Finals:
        for member in kind:
            if member.value == text:
                return member
        raise _refuse(name, ", ".join(member.value for member in kind), text)

    return read


PARAMETERS: Mapping[str, Reader] = {
    "encoding": _one_of(Encoding),
    "sample_rate": _whole,
    "channels": _whole,
    "language": _text,
    "partials": _truth,
    "words": _truth,
    "finals": _one_of(Finals),
    "budget_ms": _whole,
    "vad_mode": _whole,
    "hangover_ms": _whole,
    "max_utterance_s": _real,
    "session": _text,
    "token": _text,
    "after": _whole,
}


def parse_query(query: str, offer: Offer) -> tuple[StreamConfig, Resume | None]:
    """Read the opening parameters.

    Args:
        query: raw, percent-encoded, without the question mark.
        offer: what the server can give.

    Raises:
        BadRequest: names the parameter, what came and what is allowed.
    """
    asked = _read(query)
    if "language" in asked:
        asked["language"] = offered_language(asked["language"], offer.languages)
    resume = _resume(asked)
    base = offer.defaults
    smallest = offer.smallest_budget_ms()
    if "budget_ms" in asked and resume is None:
        _check_budget(asked["budget_ms"], smallest)
    try:
        config = replace(
            base,
            audio=_replaced(base.audio, asked),
            gate=_replaced(base.gate, asked),
            decoder=_replaced(base.decoder, asked),
            language=asked.get("language"),
            partials=asked.get("partials", base.partials),
            words=asked.get("words", base.words),
            budget_ms=asked.get("budget_ms", max(base.budget_ms, smallest)),
        )
    except ConfigError as error:
        raise BadRequest(str(error)) from None
    return config, resume


def _read(query: str) -> dict[str, Any]:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS
        )
    except ValueError:
        raise BadRequest(f"at most {_MOST_PARAMETERS} parameters are taken") from None
    asked: dict[str, Any] = {}
    for name, text in pairs:
        if name not in PARAMETERS:
            raise BadRequest(
                f"there is no parameter {shown(name)}: "
                f"the parameters are {', '.join(PARAMETERS)}"
            )
        if name in asked:
            raise BadRequest(f"{name} may be given once, got {shown(text)} as well")
        asked[name] = PARAMETERS[name](name, text)
    return asked


_Section: TypeAlias = AudioFormat | GateConfig | DecoderConfig


def _replaced(section: _Section, asked: dict[str, Any]) -> Any:
    names = type(section).__dataclass_fields__
    return replace(section, **{k: v for k, v in asked.items() if k in names})


def offered_language(tag: str, offered: tuple[str, ...]) -> str:
    """The offered tag that fits best, as RFC 4647 looks one up: en-GB takes en."""
    known = {language.lower(): language for language in offered}
    parts = tag.lower().split("-")
    for length in range(len(parts), 0, -1):
        if found := known.get("-".join(parts[:length])):
            return found
    raise _refuse("language", " or ".join(offered), tag)


def _resume(asked: dict[str, Any]) -> Resume | None:
    given = [name for name in ("session", "token", "after") if name in asked]
    if not given:
        return None
    if len(given) < 3:
        raise BadRequest(
            f"session, token and after go together, got only {' and '.join(given)}"
        )
    if asked["after"] < -1:
        raise _refuse("after", "a seq, or -1 for none", asked["after"])
    same = {k: v for k, v in asked.items() if k not in ("session", "token", "after")}
    return Resume(asked["session"], asked["token"], asked["after"], same)


def _check_budget(budget_ms: int, smallest: int) -> None:
    if budget_ms < smallest:
        raise BadRequest(
            f"budget_ms must be at least {smallest} for this model on this machine, "
            f"got {budget_ms}"
        )


# --- fields of configure, which are JSON -----------------------------------


def _json_truth(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _refuse(name, "true or false", value)
    return value


def _json_whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 10**9:
        raise _refuse(name, "a whole number", value)
    return value


def _json_real(name: str, value: object) -> float:
    # JSON carries 1e999 as infinity, and integers that no float can hold.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 10**9:
        return float(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise _refuse(name, "a number", value)


_FIELDS: Mapping[str, Callable[[str, object], Any]] = {
    "partials": _json_truth,
    "budget_ms": _json_whole,
    "hangover_ms": _json_whole,
    "max_utterance_s": _json_real,
}


def parse_configure(
    fields: dict[str, Any], config: StreamConfig, offer: Offer
) -> Configure:
    """Read the fields of a `configure` command.

    Args:
        fields: the JSON object without its type.
        config: what the stream was opened with.
        offer: what the server can give.

    Raises:
        BadRequest: names the field, what came and what is allowed.
    """
    asked = {}
    for name, value in fields.items():
        if name not in _FIELDS:
            raise BadRequest(
                f"configure has no field {shown(name)}: "
                f"the fields are {', '.join(_FIELDS)}"
            )
        asked[name] = _FIELDS[name](name, value)
    if "budget_ms" in asked:
        _check_budget(asked["budget_ms"], offer.smallest_budget_ms())
    try:
        _replaced(config.gate, asked)
        replace(config, budget_ms=asked.get("budget_ms", config.budget_ms))
    except ConfigError as error:
        raise BadRequest(str(error)) from None
    return Configure(**asked)
