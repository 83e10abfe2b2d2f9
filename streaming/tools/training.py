"""Train a `Wav2Vec2ForCTC` with CTC, resumably.

One process per worker, gradients averaged between them: on a CPU two workers
of one thread beat one of two. Knows torch and transformers; the recipe says
what, `batches` brings the audio.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
import transformers
from torch import Tensor, nn
from transformers import Wav2Vec2ForCTC

from streaming.errors import ConfigError
from streaming.models.metadata import METADATA
from streaming.numeric.wer import edits
from streaming.tools.batches import Batch, Batches, normalise
from streaming.tools.chunked import View, draw_view, encode, scaled_so_far
from streaming.tools.corpus import AudioStore, Utterance
from streaming.tools.fresh import alphabet_of, fresh_model, suit_cpu
from streaming.tools.recipe import Recipe

__all__ = ["Schedule", "Trainer", "run"]


class Trainer:
    """The model, its optimizer and where they are in the schedule.

    Args:
        recipe: what to train.
        folder: holds `last.pt`, `log.jsonl` and the exported `model/`.
        rank: which worker this is.
        workers: how many share the gradients.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, rank: int = 0, workers: int = 1
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.rank = rank
        self.workers = workers
        self.step = 0
        self.seconds = 0.0
        self.alphabet = alphabet_of(recipe)
        self.model = (
            Wav2Vec2ForCTC.from_pretrained(recipe.start)
            if recipe.start
            else fresh_model(recipe)
        )
        if recipe.streaming and self.model.config.add_adapter:
            raise ConfigError(
                f"{recipe.start}: its adapter convolves across chunks; it cannot be "
                "trained for streaming"
            )
        if self.model.device.type == "cpu":
            suit_cpu(self.model)
        self.average = {
            k: v.detach().clone() for k, v in self.model.state_dict().items()
        }
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        plan = recipe.optimisation
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": plan.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=plan.peak_rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        self._flat = self._flatten_gradients()
        if (folder / "last.pt").exists():
            self._load(torch.load(folder / "last.pt", weights_only=True))
        # Of its own, so that the same audio is drawn with views and without.
        self._dice = np.random.default_rng([recipe.seed, rank, self.step, 1])

    def _flatten_gradients(self) -> Tensor:
        """Lay all gradients into one buffer, with room for two sums at its end."""
        parameters = list(self.model.parameters())
        flat = torch.zeros(
            sum(p.numel() for p in parameters) + 2, device=self.model.device
        )
        place = 0
        for parameter in parameters:
            size = parameter.numel()
            parameter.grad = flat[place : place + size].view_as(parameter)
            place += size
        return flat

    def _load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]

    def mask(self, strength: float) -> None:
        """Mask this share of what the recipe's shape asks for."""
        shape, config = self.recipe.shape, self.model.config
        config.mask_time_prob = shape.mask_time_prob * strength
        config.mask_feature_prob = shape.mask_feature_prob * strength

    def save(self) -> None:
        """Write the checkpoint; a crash leaves the previous one whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, self.folder / "last.tmp")
        (self.folder / "last.tmp").rename(self.folder / "last.pt")

    def update(self, batches: Sequence[Batch]) -> tuple[float, float]:
        """One update from this worker's batches.

        Returns:
            Loss per character over all workers, and the gradient's norm.
        """
        plan = self.recipe.optimisation
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = plan.rate_at(self.step)
        self._flat.zero_()
        loss_sum, characters = 0.0, 0
        for batch in batches:
            loss, main, count = self._loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            loss_sum += main
            characters += count
            self.seconds += float(batch.counts.sum()) / 16_000 * self.workers
        loss_sum, total = self._share(loss_sum, characters)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), plan.clip_norm)
        if torch.isfinite(norm):
            self.optimizer.step()
        self._move_average()
        self.step += 1
        return loss_sum / max(1, total), float(norm)

    def _share(self, loss_sum: float, characters: int) -> tuple[float, float]:
        """Turn summed gradients into the mean per character over all workers."""
        self._flat[-2:] = torch.tensor([loss_sum, float(characters)])
        if self.workers > 1:
            torch.distributed.all_reduce(self._flat)
        loss_sum, total = self._flat[-2:].tolist()
        self._flat /= max(1.0, total)
        return loss_sum, total

    def _view(self) -> View | None:
        plan = self.recipe.streaming
        return None if plan is None else draw_view(plan, self._dice)

    def _loss(self, batch: Batch) -> tuple[Tensor, float, int]:
        device = self.model.device
        samples = torch.from_numpy(batch.samples).to(device)
        counts = torch.from_numpy(batch.counts).to(device)
        view = self._view()
        if view is not None:
            samples = scaled_so_far(samples, counts, view)
        labels = [
            torch.tensor(
                [self.alphabet[c] for c in text.replace(" ", "|")], dtype=torch.long
            )
            for text in batch.texts
        ]
        lengths = torch.tensor([len(label) for label in labels])
        with torch.autocast(device.type, dtype=torch.bfloat16):
            middle = self.recipe.optimisation.middle_ctc_weight
            last, halfway = encode(self.model.wav2vec2, samples, counts, view)
            logits = [self.model.lm_head(last)]
            if middle:
                normed = self.model.wav2vec2.encoder.layer_norm(halfway)
                logits.append(self.model.lm_head(normed))
        lengths_of: Any = self.model._get_feat_extract_output_lengths
        steps = lengths_of(counts)
        losses = [
            nn.functional.ctc_loss(
                row.float().log_softmax(-1).transpose(0, 1),
                torch.cat(labels).to(device),
                steps,
                lengths.to(device),
                reduction="sum",
                zero_infinity=True,
            )
            for row in logits
        ]
        loss = losses[0] + middle * losses[-1] if middle else losses[0]
        return loss, float(losses[0].detach()), int(lengths.sum())

    @torch.no_grad()
    def _move_average(self) -> None:
        keep = min(
            self.recipe.optimisation.average_decay, (self.step + 1) / (self.step + 20)
        )
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def evaluate(
        self,
        utterances: list[Utterance],
        store: AudioStore,
        view: View | None = None,
    ) -> float:
        """WER of the averaged weights by greedy decoding, 0 to 1 and more."""
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        self.model.eval()  # type: ignore[no-untyped-call]
        wrong = words = 0
        for utterance in utterances:
            heard = self.transcribe(normalise(store.samples(utterance)), view)
            wrong += edits(utterance.text.split(), heard.split())
            words += len(utterance.text.split())
        self.model.load_state_dict(own)
        return wrong / max(1, words)

    @torch.inference_mode()
    def transcribe(self, samples: np.ndarray, view: View | None = None) -> str:
        """Greedy text of normalised samples `(n,)`, seen in full or through `view`."""
        samples = np.pad(samples, (0, max(0, 1_600 - len(samples))))
        with torch.autocast(self.model.device.type, dtype=torch.bfloat16):
            heard = torch.from_numpy(samples)[None].to(self.model.device)
            if view is not None:
                counts = torch.tensor([heard.shape[1]], device=heard.device)
                heard = scaled_so_far(heard, counts, view)
            last, _ = encode(self.model.wav2vec2, heard, view=view)
            logits = self.model.lm_head(last)[0]
        best = torch.unique_consecutive(logits.float().argmax(-1)).tolist()
        letters = {i: c for c, i in self.alphabet.items()}
        text = "".join(letters[i] for i in best if i > 1)
        return " ".join(text.replace("|", " ").split())

    def export(self, folder: Path) -> None:
        """Write the averaged weights as a transformers checkpoint."""
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.model.save_pretrained(folder)
        self.model.load_state_dict(own)
        (folder / "vocab.json").write_text(json.dumps(self.alphabet, indent=1))
        facts = {"format": 1, "streaming": self.recipe.streaming is not None}
        (folder / METADATA).write_text(json.dumps(facts, indent=2) + "\n")


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often things are done, in updates."""

    report_every: int = 20
    save_every: int = 250
    evaluate_every: int = 500


def run(
    trainer: Trainer,
    batches: Batches,
    evaluate: Callable[[], dict[str, float]],
    *,
    report: Callable[[dict[str, Any]], None],
    schedule: Schedule,
) -> None:
    """Train to the end of the recipe's schedule.

    Args:
        trainer: this worker's.
        batches: its supply.
        evaluate: WER by test corpus; only the first worker is asked.
        report: takes each row of the log; only the first worker's.
        schedule: how often.
    """
    plan = trainer.recipe.optimisation
    began, began_at = time.monotonic(), trainer.seconds
    supply: list[Batch] = []
    smooth = None
    sizes = {first for first, _ in plan.batch_seconds}
    while trainer.step < plan.steps:
        wanted = plan.seconds_at(trainer.step) / trainer.workers / plan.accumulate
        while len(supply) < plan.accumulate:
            strength = trainer.recipe.augmentation.strength_at(trainer.step)
            trainer.mask(strength)
            supply.extend(batches.draw(wanted, strength))
        loss, norm = trainer.update([supply.pop() for _ in range(plan.accumulate)])
        smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
        done, last = trainer.step, trainer.step == plan.steps
        if done in sizes:
            supply.clear()
        if trainer.rank == 0 and (last or done % schedule.report_every == 0):
            speed = (trainer.seconds - began_at) / (time.monotonic() - began)
            report(
                {
                    "step": done,
                    "loss": round(smooth, 4),
                    "norm": round(norm, 2),
                    "hours": round(trainer.seconds / 3600, 2),
                    "speed": round(speed, 1),
                }
            )
        if trainer.rank == 0 and (last or done % schedule.save_every == 0):
            trainer.save()
        if last or done % schedule.evaluate_every == 0:
            if trainer.rank == 0:
                report({"step": done, **evaluate()})
                trainer.export(trainer.folder / "model")
            if trainer.workers > 1:
                torch.distributed.barrier()
