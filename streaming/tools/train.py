"""`wavestitch train`: recipe in, checkpoint out, resumable at any moment.

Brings corpora, batches and trainer together, one process per worker, and shows
how it goes. The training itself is in `training`.
"""

from __future__ import annotations

import json
import os
import socket
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
import torch.multiprocessing
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from streaming.errors import ConfigError
from streaming.tools.batches import Batches
from streaming.tools.chunked import View
from streaming.tools.corpus import AudioStore, Utterance, held_out, read_manifest
from streaming.tools.making import with_made_speech
from streaming.tools.recipe import Recipe, Streaming, load_recipe
from streaming.tools.training import Schedule, Trainer, run

__all__ = ["train"]

_TESTED = 60  # utterances of each test corpus heard while training


def train(
    recipe_path: Path,
    folder: Path,
    *,
    streaming: bool = False,
    workers: int = 1,
    threads: int = 1,
    quiet: bool = False,
) -> None:
    """Train as the recipe says, or go on where `folder` left off.

    Args:
        recipe_path: TOML file; see `recipe.Recipe`.
        folder: receives `last.pt` (to go on from), `log.jsonl`, the decoded audio
            and, at every evaluation, `model/` with the averaged weights.
        streaming: train for streams too, as a recipe with an empty `[streaming]`.
        workers: processes; on a CPU one per core, of one thread each.
        threads: of each worker.
        quiet: show nothing.

    Raises:
        ConfigError: the recipe or its data cannot be used.
    """
    recipe = load_recipe(recipe_path)
    if streaming and recipe.streaming is None:
        recipe = replace(recipe, streaming=Streaming())
    folder.mkdir(parents=True, exist_ok=True)
    recipe = with_made_speech(recipe, folder, quiet=quiet)
    _Data(recipe, folder)  # decodes once, before the workers ask for it
    if workers == 1:
        _work(0, 1, recipe, folder, threads, 0, quiet)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn: Any = torch.multiprocessing.spawn  # type: ignore[attr-defined]
    spawn(_work, (workers, recipe, folder, threads, port, quiet), nprocs=workers)


class _Data:
    """The utterances of a recipe, decoded: for training, for testing, and noise."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        cache = folder / "audio"
        shares = {share.name: share for share in recipe.corpora}
        rows = [
            row
            for path in recipe.manifests
            for row in read_manifest(path)
            if row.corpus in shares
        ]
        if not rows:
            raise ConfigError(
                f"no utterance of {', '.join(shares)} in the recipe's manifests"
            )
        self.store = AudioStore(rows, cache)
        kept = [held_out(row, shares[row.corpus].hold_out) for row in rows]
        self.train = [row for row, out in zip(rows, kept, strict=True) if not out]
        tests = [row for path in recipe.tests for row in read_manifest(path)]
        self.test_store = AudioStore(tests, cache)
        self.tests: dict[str, tuple[AudioStore, list[Utterance]]] = {}
        by_corpus: dict[str, list[Utterance]] = defaultdict(list)
        for row in tests:
            by_corpus[row.corpus].append(row)
        for name, group in by_corpus.items():
            self.tests[name] = (self.test_store, group[:: -(-len(group) // _TESTED)])
        held = [row for row, out in zip(rows, kept, strict=True) if out]
        if held:
            self.tests["held_out"] = (self.store, held[:_TESTED])
        asked = recipe.streaming.tests if recipe.streaming else ()
        if unknown := set(asked) - set(self.tests):
            raise ConfigError(
                f"streaming: tests names {', '.join(sorted(unknown))}; "
                f"there are {', '.join(self.tests) or 'none'}"
            )
        noise = read_manifest(recipe.noise) if recipe.noise else []
        store = AudioStore(noise, cache)
        self.noises = [store.samples(row) for row in noise if row.kind == "noise"]
        self.rooms = [store.samples(row) for row in noise if row.kind == "rir"]


def _work(
    rank: int,
    workers: int,
    recipe: Recipe,
    folder: Path,
    threads: int,
    port: int,
    quiet: bool,
) -> None:
    torch.set_num_threads(threads)
    if workers > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        torch.distributed.init_process_group("gloo", rank=rank, world_size=workers)
    data = _Data(recipe, folder)
    trainer = Trainer(recipe, folder, rank, workers)
    # The place in the schedule is part of the seed: a resumed run draws anew.
    torch.manual_seed(recipe.seed * 1_000_003 + rank * 1_009 + trainer.step)
    dice = np.random.default_rng([recipe.seed, rank, trainer.step])
    batches = Batches(recipe, data.train, data.store, data.noises, data.rooms, dice)

    def evaluate() -> dict[str, float]:
        heard = {
            name: trainer.evaluate(rows, store)
            for name, (store, rows) in data.tests.items()
        }
        if plan := recipe.streaming:
            view = View(plan.test_chunk_steps, plan.test_left_steps)
            for name, (store, rows) in data.tests.items():
                if name in (plan.tests or data.tests):
                    heard[f"{name}@chunk"] = trainer.evaluate(rows, store, view)
        return {name: round(rate, 4) for name, rate in heard.items()}

    console = Console(stderr=True, quiet=quiet or rank > 0)
    columns = (
        BarColumn(),
        TextColumn("{task.completed}/{task.total} {task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=recipe.optimisation.steps)

        def report(row: dict[str, Any]) -> None:
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            text = " ".join(f"{k} {v}" for k, v in row.items() if k != "step")
            if "loss" in row:
                bar.update(task, completed=row["step"], description=text)
            else:
                bar.console.print(f"{row['step']}: WER {text}")

        run(trainer, batches, evaluate, report=report, schedule=Schedule())
    if workers > 1:
        torch.distributed.destroy_process_group()
