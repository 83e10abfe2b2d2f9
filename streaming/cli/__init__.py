"""The command line: arguments to settings to one call.

Importing this imports no model runtime and no server: each command imports what
it needs when it runs, so that `--help` is quick and the base install is enough.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Errors are one line
on standard error, results go to standard output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from streaming import __version__
from streaming.cli.capacity import capacity
from streaming.cli.checkpoints import export, models, quantize
from streaming.cli.demo import demo
from streaming.cli.evaluate import evaluate
from streaming.cli.keys import keys
from streaming.cli.mic import mic
from streaming.cli.options import WrongUsage
from streaming.cli.serve import serve
from streaming.cli.settings import parse_bool
from streaming.cli.tap import tap
from streaming.cli.train import train
from streaming.cli.transcribe import transcribe
from streaming.errors import WavestitchError

__all__ = ["app", "main"]

# Every command with an example of its use, in the order of `--help`.
COMMANDS = (
    (demo, "wavestitch demo"),
    (serve, "wavestitch serve --port 9000 --set stream.gate.hangover_ms=600"),
    (keys, "wavestitch keys add front-desk --streams 4 --minutes-a-day 600"),
    (transcribe, "wavestitch transcribe meeting.flac --format srt > meeting.srt"),
    (capacity, "wavestitch capacity --budget-ms 500"),
    (mic, "wavestitch mic --url ws://127.0.0.1:8770"),
    (tap, "wavestitch tap --rtp 0.0.0.0:5004 --rtp 0.0.0.0:5006 --json calls.jsonl"),
    (train, "wavestitch train recipe.toml --folder runs/first"),
    (evaluate, "wavestitch evaluate test/manifest.jsonl --mode offline"),
    (export, "wavestitch export runs/first served/first --name first"),
    (quantize, "wavestitch quantize model.onnx model.int8.onnx"),
    (models, "wavestitch models"),
)
# The extra that brings a package which the base install does not have.
EXTRAS = {
    "torch": "models",
    "transformers": "models",
    "safetensors": "models",
    "huggingface_hub": "models",
    "onnx": "models",
    "sounddevice": "mic",
    "silero_vad": "silero",
}
# Typer brings its own copy of click in newer versions; this is the base of its
# errors in either.
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="wavestitch",
    help="Streaming speech recognition on your own machine.",
    epilog="Example: wavestitch demo",
    rich_markup_mode=None,
    add_completion=False,
)
for _command, _example in COMMANDS:
    app.command(epilog=f"Example: {_example}")(_command)


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
) -> None:
    if version:
        print(f"wavestitch {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line; None means the process's own.

    Returns:
        The exit status.
    """
    try:
        status = app(
            args=list(sys.argv[1:] if arguments is None else arguments),
            prog_name="wavestitch",
            standalone_mode=False,
        )
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _wants_traceback():
            raise
        message, status = _told(error)
        print(f"wavestitch: {' '.join(message.split())}", file=sys.stderr)
        return status
    return status if isinstance(status, int) else 0


def _told(error: Exception) -> tuple[str, int]:
    """The one line for an error, and the exit status."""
    match error:
        case WrongUsage():
            return str(error), 2
        case ModuleNotFoundError(name=str(name)) if name.split(".")[0] in EXTRAS:
            package = name.split(".")[0]
            extra = EXTRAS[package]
            return f"{package} is missing: pip install 'wavestitch[{extra}]'", 1
        case WavestitchError() | OSError():
            return str(error), 1
        case _ if _is_client_error(error):
            return str(error), 1
        case _ if isinstance(error, _ClickException):
            return _usage(error)
        case _:
            return (
                f"{type(error).__name__}: {error} "
                "(a fault of ours; WAVESTITCH_TRACEBACK=1 shows where)"
            ), 1


def _is_client_error(error: Exception) -> bool:
    """Told without importing `clients`, which brings websockets along."""
    return any(kind.__module__ == "clients.errors" for kind in type(error).__mro__)


def _usage(error: Exception) -> tuple[str, int]:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "wavestitch"
    message: str = getattr(error, "format_message", error.__str__)()
    status: int = getattr(error, "exit_code", 2)
    return f"{message.rstrip('.')}; see {command} --help", status


def _wants_traceback() -> bool:
    try:
        return parse_bool(os.environ.get("WAVESTITCH_TRACEBACK", "0"))
    except ValueError:
        return False
