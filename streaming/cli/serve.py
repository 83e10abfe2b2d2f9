"""`wavestitch serve`: run the server."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from streaming.cli import settings
from streaming.cli.keys import default_path
from streaming.cli.limits import measured_limits
from streaming.cli.options import (
    Assignments,
    ConfigFile,
    LimitsFile,
    ModelName,
    ModelRevision,
    WrongUsage,
    gather,
)
from streaming.config import Config
from streaming.errors import ConfigError

__all__ = ["serve"]

_log = logging.getLogger("wavestitch")


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
    ingest: Annotated[
        int | None,
        typer.Option(help="Processes that hold the connections; 0: one does it all."),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE,...",
            help="An engine process on each, such as cuda:0,cuda:1.",
        ),
    ] = None,
    tls_certificate: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="PEM; the port then speaks wss and https."),
    ] = None,
    tls_key: Annotated[
        str | None, typer.Option(metavar="FILE", help="PEM of its private key.")
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Keys made by `wavestitch keys add`; the user's own by default.",
        ),
    ] = None,
    allow_anyone: Annotated[
        bool,
        typer.Option(
            "--allow-anyone", help="Whoever reaches the port may use it, without keys."
        ),
    ] = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
    limits: LimitsFile = None,
    print_config: Annotated[
        bool,
        typer.Option("--print-config", help="Print the settings as TOML and exit."),
    ] = False,
) -> None:
    """Serve streams over websockets until told to stop.

    Settings come from the file, then the environment
    (WAVESTITCH_SERVER__PORT=9000), then flags; the later wins. Where none says how
    many streams are let in, what `wavestitch capacity` measured here for this very
    model and these settings holds. SIGTERM lets open streams finish, SIGHUP has keys
    and certificate read again.
    """
    flags = {
        "server.host": host,
        "server.port": port,
        "model.name": model,
        "model.revision": revision,
        "server.ingest": ingest,
        "server.tls_certificate": tls_certificate,
        "server.tls_key": tls_key,
        "access.keys_file": keys,
        "access.allow_anyone": allow_anyone or None,
        "model.devices": None
        if devices is None
        else tuple(each.strip() for each in devices.split(",") if each.strip()),
    }
    without = gather(config, assignments, flags)
    try:
        measured, warning = measured_limits(without, limits)
    except ConfigError as error:
        raise WrongUsage(str(error)) from None
    beneath = measured | _own_keys(without)
    chosen = gather(config, assignments, flags, beneath=beneath)
    origins = _origins(measured, without, chosen)
    if print_config:
        for words in filter(None, (warning, *origins)):
            print(f"# {words}")
        print(settings.to_toml(chosen), end="")
        return
    import asyncio  # noqa: PLC0415

    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    _log.setLevel(logging.INFO)
    for words in filter(None, (warning, _in_the_clear(chosen))):
        _log.warning("%s", words)
    for words in origins:
        _log.info("%s", words)
    asyncio.run(_run(chosen))


async def _run(chosen: Config) -> None:
    if chosen.several:
        from streaming import cluster  # noqa: PLC0415

        await cluster.serve(chosen)
    else:
        from streaming import app  # noqa: PLC0415

        await app.serve(chosen)


def _own_keys(config: Config) -> settings.Layer:
    """The user's own keys, where there are any and nothing else is said."""
    access, path = config.access, default_path()
    if access.keys or access.keys_file or access.allow_anyone or not path.is_file():
        return {}
    said = settings.Setting(str(path), "wavestitch keys add")
    return {("access", "keys_file"): said}


def _in_the_clear(config: Config) -> str:
    """What to say where keys travel so that others can read them."""
    from streaming.server.origins import is_loopback  # noqa: PLC0415

    if config.server.tls_certificate or is_loopback(config.server.host):
        return ""
    return (
        "audio, text and keys travel unencrypted: give --tls-certificate and "
        "--tls-key, or put a proxy that speaks TLS before the port"
    )


def _origins(measured: settings.Layer, without: Config, chosen: Config) -> list[str]:
    """Where the limits in force are from, of those that were measured."""
    return [
        f"limits.{key[-1]} = {setting.value}: {setting.origin}"
        for key, setting in measured.items()
        if getattr(chosen.limits, key[-1]) != getattr(without.limits, key[-1])
    ]
