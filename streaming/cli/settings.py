"""Merge the settings: defaults, then a TOML file, the environment, and flags.

The later wins. Keys are the fields of `Config` and of what is in it:

    file         [stream.gate]
                 hangover_ms = 600
    environment  WAVESTITCH_STREAM__GATE__HANGOVER_MS=600
    flag         --set stream.gate.hangover_ms=600

Pure: what stands in the file and in the environment is given.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from streaming.config import Config
from streaming.errors import ConfigError

__all__ = [
    "Layer",
    "Setting",
    "from_assignments",
    "from_environment",
    "from_flags",
    "from_toml",
    "merge",
    "parse_bool",
    "to_toml",
]

PREFIX = "WAVESTITCH_"
TRUE = ("1", "true", "yes", "on")
FALSE = ("0", "false", "no", "off")

Key: TypeAlias = tuple[str, ...]
Room = TypeVar("Room")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it is from, for messages."""

    value: Any
    origin: str


Layer: TypeAlias = dict[Key, Setting]


def from_toml(text: str, origin: str) -> Layer:
    """The settings of a file.

    Raises:
        ConfigError: not TOML, an unknown key, or a value of the wrong type.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: not TOML: {error}") from None
    layer: Layer = {}
    _flatten(tables, (), origin, layer)
    return layer


def from_environment(environ: Mapping[str, str]) -> Layer:
    """The settings among environment variables.

    Names without `__` are left alone: a container platform sets such ones for a
    service of our name (`WAVESTITCH_PORT=tcp://...`).

    Raises:
        ConfigError: a name with `__` that is no setting, or a bad value.
    """
    layer: Layer = {}
    for name, text in environ.items():
        if name.startswith(PREFIX) and "__" in name:
            key = tuple(name.removeprefix(PREFIX).lower().split("__"))
            layer[key] = Setting(_parse(key, text, name), name)
    return layer


def from_assignments(assignments: Sequence[str]) -> Layer:
    """The settings of `--set KEY=VALUE`.

    Raises:
        ConfigError: no `=`, an unknown key or a bad value.
    """
    layer: Layer = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set takes KEY=VALUE, got {assignment!r}")
        key = tuple(name.strip().split("."))
        layer[key] = Setting(_parse(key, text.strip(), "--set"), "--set")
    return layer


def from_flags(flags: Mapping[str, Any]) -> Layer:
    """The settings of named flags, by dotted key; None means not given."""
    return {
        tuple(name.split(".")): Setting(value, f"--{name.rpartition('.')[2]}")
        for name, value in flags.items()
        if value is not None
    }


def merge(*layers: Layer) -> Config:
    """Settings of all layers over the defaults; later layers win.

    Raises:
        ConfigError: a value that cannot hold; the message names it and its origin.
    """
    merged: Layer = {}
    for layer in layers:
        merged |= layer
    return _build(Config, (), merged)


def to_toml(config: Config) -> str:
    """A file that `from_toml` reads as the same settings.

    TOML has no null: what is not set stands as a comment.
    """
    lines: list[str] = []
    _write(config, (), lines)
    return "\n".join(lines).strip() + "\n"


def parse_bool(text: str) -> bool:
    """`1`, `true`, `yes`, `on`, or their opposites, in any case.

    Raises:
        ValueError: something else.
    """
    word = text.strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ValueError(f"true or false, got {text!r}")


def _flatten(table: dict[str, Any], above: Key, origin: str, layer: Layer) -> None:
    for name, value in table.items():
        key = (*above, name)
        kind = _kind(key, origin)
        if is_dataclass(kind):
            if not isinstance(value, dict):
                raise ConfigError(f"{origin}: {_dotted(key)} is a table, got {value!r}")
            _flatten(value, key, origin, layer)
        else:
            layer[key] = Setting(_typed(kind, value, key, origin), origin)


def _kind(key: Key, origin: str) -> Any:
    """The type of a setting, or the dataclass of a table."""
    kind: Any = Config
    for depth, name in enumerate(key):
        known = get_type_hints(kind) if is_dataclass(kind) else {}
        if name not in known:
            table = _dotted(key[:depth]) or "the top"
            there = (
                f"{table} has {', '.join(known)}" if known else f"{table} is no table"
            )
            raise ConfigError(f"{origin}: unknown setting {_dotted(key)}; {there}")
        kind = known[name]
    return kind


def _parse(key: Key, text: str, origin: str) -> Any:
    """A value from its text in the environment or a flag."""
    kind = _kind(key, origin)
    if is_dataclass(kind):
        raise ConfigError(f"{origin}: {_dotted(key)} is a table, not a setting")
    plain, optional = _without_none(kind)
    if optional and not text:
        return None
    readers: dict[Any, Any] = {
        bool: parse_bool,
        int: int,
        float: float,
        tuple[str, ...]: lambda words: [w for w in words.split(",") if w],
    }
    try:
        value = readers.get(plain, str)(text)
    except ValueError:
        raise _wrong(plain, text, key, origin) from None
    return _typed(kind, value, key, origin)


def _typed(kind: Any, value: Any, key: Key, origin: str) -> Any:
    """The value as its field wants it: an int for a float, a word for an Enum."""
    plain, _ = _without_none(kind)
    if isinstance(plain, type) and issubclass(plain, Enum):
        words = [member.value for member in plain]
        if value not in words:
            raise ConfigError(
                f"{origin}: {_dotted(key)} must be one of {', '.join(words)}, "
                f"got {value!r}"
            )
        return plain(value)
    if plain is float and type(value) is int:
        return float(value)
    if plain == tuple[str, ...]:
        if not isinstance(value, list) or any(type(each) is not str for each in value):
            raise _wrong(plain, value, key, origin)
        return tuple(each.strip() for each in value)
    # `type`, since True is an int too.
    if type(value) is not plain:
        raise _wrong(plain, value, key, origin)
    return value


def _wrong(kind: Any, value: Any, key: Key, origin: str) -> ConfigError:
    wanted = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        tuple[str, ...]: "a list of texts",
    }
    return ConfigError(
        f"{origin}: {_dotted(key)} must be {wanted.get(kind, 'text')}, got {value!r}"
    )


def _without_none(kind: Any) -> tuple[Any, bool]:
    if get_origin(kind) in (Union, UnionType):
        (plain,) = (part for part in get_args(kind) if part is not NoneType)
        return plain, True
    return kind, False


def _build(kind: type[Room], above: Key, merged: Layer) -> Room:
    given: dict[str, Any] = {}
    origins: list[str] = []
    for name, inner in get_type_hints(kind).items():
        key = (*above, name)
        if is_dataclass(inner):
            given[name] = _build(inner, key, merged)  # type: ignore[arg-type]
        elif key in merged:
            given[name] = merged[key].value
            origins.append(merged[key].origin)
    try:
        return kind(**given)
    except ConfigError as error:
        place = _dotted(above)
        said = ", ".join(dict.fromkeys(origins))
        raise ConfigError(f"{said}: {place + '.' if place else ''}{error}") from None


def _write(room: Any, above: Key, lines: list[str]) -> None:
    own = [field.name for field in fields(room)]
    tables = [name for name in own if is_dataclass(getattr(room, name))]
    if above:
        lines += ["", f"[{_dotted(above)}]"]
    for name in own:
        if name not in tables:
            value = getattr(room, name)
            lines.append(f"# {name} =" if value is None else f"{name} = {_toml(value)}")
    for name in tables:
        _write(getattr(room, name), (*above, name), lines)


def _toml(value: Any) -> str:
    match value:
        case Enum():
            return _toml(value.value)
        case bool():
            return str(value).lower()
        case str():
            # JSON's string is TOML's but for DEL, which TOML wants escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return repr(value)


def _dotted(key: Key) -> str:
    return ".".join(key)
