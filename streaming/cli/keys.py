"""`wavestitch keys`: who may use a server that other machines reach."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from streaming.cli.options import WrongUsage

__all__ = ["default_path", "keys"]


class Action(Enum):
    """What to do with the keys."""

    ADD = "add"
    LIST = "list"
    REMOVE = "remove"
    TOKEN = "token"


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the user's own keys are kept."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return Path(base) / "wavestitch" / "keys"


def keys(
    action: Annotated[Action, typer.Argument(help="What to do.")],
    name: Annotated[
        str | None, typer.Argument(help="Of the key, for logs and metrics.")
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--keys",
            envvar="WAVESTITCH_ACCESS__KEYS_FILE",
            help="File of keys; the user's own by default (~/.config/wavestitch/keys).",
        ),
    ] = None,
    streams: Annotated[
        int | None, typer.Option(help="add: channels that it may have open at once.")
    ] = None,
    minutes_a_day: Annotated[
        int | None, typer.Option(help="add: minutes of audio that it may send a day.")
    ] = None,
    read: Annotated[
        str | None,
        typer.Option(metavar="SESSION", help="token: may read that and nothing else."),
    ] = None,
    life_s: Annotated[
        int, typer.Option(min=1, max=2_592_000, help="token: seconds that it holds.")
    ] = 60,
) -> None:
    """Make, list and remove keys; make tokens of them.

    A key is printed once and kept as a salted hash. A server that runs reads the file
    again on SIGHUP. A token is what a web page gets instead of a key.
    """
    path = file or default_path()
    if name is None and action is not Action.LIST:
        raise WrongUsage(f"keys {action.value} needs the NAME of a key")
    match action:
        case Action.ADD:
            _add(path, name or "", streams or 0, minutes_a_day or 0)
        case Action.LIST:
            _list(path)
        case Action.REMOVE:
            _remove(path, name or "")
        case Action.TOKEN:
            _token(path, name or "", read, life_s)


def _add(path: Path, name: str, streams: int, minutes_a_day: int) -> None:
    from streaming.server.keyring import (  # noqa: PLC0415
        draw_key,
        read_file,
        write_file,
    )

    there = read_file(path) if path.expanduser().exists() else ()
    if name in (key.name for key in there):
        raise WrongUsage(f"there is a key {name} in {path}: remove it first")
    shown, key = draw_key(name, streams=streams, minutes_a_day=minutes_a_day)
    write_file(path, (*there, key))
    print(shown)
    print(
        f"Kept as a hash in {path}: copy the key now, it is not shown again. "
        "A server that runs reads it on SIGHUP.",
        file=sys.stderr,
    )


def _list(path: Path) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from streaming.server.keyring import read_file  # noqa: PLC0415

    table = Table("name", "streams", "minutes a day", box=None, pad_edge=False)
    for key in read_file(path):
        limits = (key.streams, key.minutes_a_day)
        table.add_row(key.name, *(str(limit) if limit else "any" for limit in limits))
    Console(highlight=False).print(table)


def _remove(path: Path, name: str) -> None:
    from streaming.server.keyring import read_file, write_file  # noqa: PLC0415

    there = read_file(path)
    left = [key for key in there if key.name != name]
    if len(left) == len(there):
        raise WrongUsage(f"there is no key {name} in {path}")
    write_file(path, left)
    print(f"{name} opens nothing once a running server gets SIGHUP", file=sys.stderr)


def _token(path: Path, name: str, session: str | None, life_s: int) -> None:
    from streaming.config import AccessConfig  # noqa: PLC0415
    from streaming.core.tokens import Claims, Scope, sign  # noqa: PLC0415
    from streaming.server.keyring import read_file, token_secret  # noqa: PLC0415

    if name not in (key.name for key in read_file(path)):
        raise WrongUsage(f"there is no key {name} in {path}")
    scope = Scope.STREAM if session is None else Scope.READ
    claims = Claims(name, scope, int(time.time() + life_s), session)
    print(sign(claims, token_secret(AccessConfig(keys_file=str(path)))))
