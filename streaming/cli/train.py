"""`wavestitch train`: train or fine-tune a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["train"]


def train(
    recipe: Annotated[
        Path,
        typer.Argument(help="TOML file that says what to train.", exists=True),
    ],
    *,
    folder: Annotated[
        Path | None,
        typer.Option(help="Receives checkpoints; runs/RECIPE by default."),
    ] = None,
    streaming: Annotated[
        bool,
        typer.Option(
            "--streaming",
            help="Train for streams too, seeing in chunks, though the recipe has no "
            "[streaming] table.",
        ),
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes that train.", min=1)] = 1,
    threads: Annotated[
        int, typer.Option(help="Threads of each; 0 shares the cores out.", min=0)
    ] = 0,
) -> None:
    """Train a model, or go on training it.

    A run that was stopped goes on from the last checkpoint in its folder.
    """
    import os  # noqa: PLC0415

    from streaming.tools.train import train as run  # noqa: PLC0415

    run(
        recipe,
        folder or Path("runs") / recipe.stem,
        streaming=streaming,
        workers=workers,
        threads=threads or max(1, (os.cpu_count() or 1) // workers),
    )
