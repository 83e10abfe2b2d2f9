"""Speech that a recipe wants made before it trains: synthesized, or cut out.

Each is made once, into a folder of the run, and added as one more manifest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from transformers import Wav2Vec2ForCTC

from streaming.errors import ConfigError
from streaming.events import Samples
from streaming.numeric.alignment import align
from streaming.numeric.geometry import Geometry
from streaming.tools.batches import normalise
from streaming.tools.corpus import AudioStore, held_out, read_manifest
from streaming.tools.fresh import alphabet_of
from streaming.tools.recipe import Recipe, Snippets
from streaming.tools.snippets import Aligner, cut_snippets
from streaming.tools.synthesize import Synthesis, synthesize

__all__ = ["with_made_speech"]

_STRIDE = Geometry().stride


def with_made_speech(recipe: Recipe, folder: Path, *, quiet: bool) -> Recipe:
    """The recipe with the manifests of all that it wants made.

    Raises:
        ConfigError: what it is made from is missing.
    """
    console = Console(stderr=True, quiet=quiet)
    if recipe.synthetic_hours:
        recipe = recipe.with_manifest(_synthetic(recipe, folder, console))
    if recipe.snippets is not None:
        made = _snippets(recipe, recipe.snippets, folder, console)
        recipe = recipe.with_manifest(made)
    return recipe


def _synthetic(recipe: Recipe, folder: Path, console: Console) -> Path:
    if recipe.sentences is None:
        raise ConfigError("synthetic_hours needs sentences, a text file")
    plan = Synthesis(recipe.sentences, recipe.synthetic_hours, recipe.seed)
    place = folder / f"synthetic-{recipe.synthetic_hours:g}h-{recipe.seed}"
    if not place.exists():
        with Progress(console=console) as bar:
            task = bar.add_task("synthesizing", total=plan.hours)
            made = synthesize(
                plan,
                place.with_suffix(".part"),
                lambda hours: bar.update(task, completed=hours),
            )
        made.parent.rename(place)
    return place / "manifest.jsonl"


def _snippets(recipe: Recipe, plan: Snippets, folder: Path, console: Console) -> Path:
    place = folder / f"snippets-{plan.seed}"
    if not place.exists():
        holds_out = {share.name: share.hold_out for share in recipe.corpora}
        rows = [
            row
            for path in recipe.manifests
            for row in read_manifest(path)
            if row.corpus in plan.corpora
            and not held_out(row, holds_out.get(row.corpus, 0))
        ]
        if not rows:
            raise ConfigError(
                f"snippets: no utterance of {', '.join(plan.corpora)} in the manifests"
            )
        with Progress(console=console) as bar:
            task = bar.add_task("cutting words out", total=len(rows))
            made = cut_snippets(
                plan,
                rows,
                AudioStore(rows, folder / "audio"),
                _aligner(recipe, plan.model),
                folder / f"{place.name}.part",
                lambda done: bar.update(task, completed=done),
            )
        made.parent.rename(place)
    return place / "manifest.jsonl"


def _aligner(recipe: Recipe, folder: Path) -> Aligner:
    if not (folder / "config.json").is_file():
        raise ConfigError(f"snippets: no checkpoint at {folder}")
    alphabet = alphabet_of(recipe)
    model = Wav2Vec2ForCTC.from_pretrained(folder)
    model.eval()  # type: ignore[no-untyped-call]
    if model.config.vocab_size != len(alphabet):
        raise ConfigError(
            f"snippets: {folder} has {model.config.vocab_size} labels, the recipe's "
            f"alphabet makes {len(alphabet)}"
        )

    @torch.inference_mode()
    def spans(samples: Samples, text: str) -> list[tuple[int, int]] | None:
        words = text.split()
        if not set("".join(words)) <= alphabet.keys() or len(samples) < 1_600:
            return None
        labels = [alphabet["|" if c == " " else c] for c in " ".join(words)]
        rows = model(torch.from_numpy(normalise(samples))[None]).logits[0]
        try:
            steps = align(np.asarray(rows), labels, alphabet["<pad>"])
        except ValueError:  # too short for what it is said to say
            return None
        found, first = [], 0
        for word in words:
            last = first + len(word) - 1
            found.append((steps[first][0] * _STRIDE, steps[last][1] * _STRIDE))
            first = last + 2  # past the border
        return found

    return spans
