"""`wavestitch serve`: run the server."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from streaming.cli import settings
from streaming.cli.options import (
    Assignments,
    ConfigFile,
    ModelName,
    ModelRevision,
    gather,
)

__all__ = ["serve"]


def serve(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to bind; 127.0.0.1 by default.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="TCP port; 8770 by default, 0 takes a free one.")
    ] = None,
    model: ModelName = None,
    revision: ModelRevision = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    print_config: Annotated[
        bool,
        typer.Option("--print-config", help="Print the settings as TOML and exit."),
    ] = False,
) -> None:
    """Serve streams over websockets until told to stop.

    Settings come from the file, then the environment
    (WAVESTITCH_SERVER__PORT=9000), then flags; the later wins. SIGTERM lets open
    streams finish.
    """
    chosen = gather(
        config,
        assignments,
        {
            "server.host": host,
            "server.port": port,
            "model.name": model,
            "model.revision": revision,
        },
    )
    if print_config:
        print(settings.to_toml(chosen), end="")
        return
    import asyncio  # noqa: PLC0415

    from streaming.app import serve as run  # noqa: PLC0415

    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("wavestitch").setLevel(logging.INFO)
    asyncio.run(run(chosen))
