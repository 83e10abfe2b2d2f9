"""A peer on the same weights: sherpa-onnx, its offline recogniser on sliding windows.

It takes a plain graph of samples to logits through its Omnilingual CTC type, and has no
streaming for such models. Runs as a program of its own, under an interpreter that
has `sherpa-onnx` (it brings an ONNX Runtime of its own): `sherpa_streams` starts it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from streaming.config import WindowConfig

__all__ = ["sherpa_streams"]

_RATE = 16_000


def sherpa_streams(
    python: str, folder: Path, window: WindowConfig, cores: int, seconds: float
) -> float:
    """Streams that it carries, counted as those of the transformers pipeline.

    Args:
        python: an interpreter that has `sherpa-onnx`.
        folder: a checkpoint of ours; its plain int8 graph is put beside it.
        window: its left context, hop and right context.
        cores: to use.
        seconds: measured for each way.

    Raises:
        CalledProcessError: it does not run.
    """
    plain = _plain(folder)
    left_ms = window.left(stateful=False)
    whole_s = (left_ms + window.hop_ms + window.right_ms) / 1_000
    command = [python, __file__, str(plain), str(whole_s), str(cores), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    calls: float = json.loads(done.stdout)["windows_a_second"]
    return calls * window.hop_ms / 1_000


def _plain(folder: Path) -> Path:
    """The same weights as sherpa-onnx takes them, made once."""
    from benchmarks.shapes import CACHE  # noqa: PLC0415
    from streaming.models.checkpoint import read_checkpoint  # noqa: PLC0415
    from streaming.tools.export import export_checkpoint  # noqa: PLC0415

    plain = CACHE.parent / "plain" / f"{folder.parent.name}-{folder.name}"
    if not (plain / "tokens.txt").is_file():
        export_checkpoint(
            folder,
            plain,
            name=folder.name,
            language="und",
            fp16_safetensors=False,
            plain=True,
        )
        labels = read_checkpoint(folder).vocabulary.labels
        tokens = (
            f"{' ' if label == '|' else label} {number}\n"
            for number, label in enumerate(labels)
        )
        (plain / "tokens.txt").write_text("".join(tokens), encoding="utf-8")
    return plain


def _measure(folder: Path, window_s: float, cores: int, seconds: float) -> float:
    """Windows a second: one recogniser over all cores, or one on each."""
    sherpa_onnx: Any = import_module("sherpa_onnx")
    noise = np.random.default_rng(0).standard_normal(int(window_s * _RATE))
    heard = noise.astype(np.float32) * 0.1

    def recogniser(threads: int) -> Callable[[], None]:
        found: Any = sherpa_onnx.OfflineRecognizer.from_omnilingual_asr_ctc(
            model=str(folder / "model.int8.onnx"),
            tokens=str(folder / "tokens.txt"),
            num_threads=threads,
        )

        def call() -> None:
            stream = found.create_stream()
            stream.accept_waveform(_RATE, heard)
            found.decode_stream(stream)

        return call

    together = _calls_a_second([recogniser(cores)], seconds)
    apart = _calls_a_second([recogniser(1) for _ in range(cores)], seconds)
    return max(together, apart)


def _calls_a_second(calls: list[Callable[[], None]], seconds: float) -> float:
    def work(call: Callable[[], None]) -> float:
        call()  # allocates
        began, done = time.monotonic(), 0
        while (took := time.monotonic() - began) < seconds or not done:
            call()
            done += 1
        return done / took

    with ThreadPoolExecutor(len(calls)) as pool:
        return sum(pool.map(work, calls))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python benchmarks/sherpa.py")
    parser.add_argument("folder", type=Path)
    parser.add_argument("window_s", type=float)
    parser.add_argument("cores", type=int)
    parser.add_argument("seconds", type=float)
    asked = parser.parse_args()
    found = _measure(asked.folder, asked.window_s, asked.cores, asked.seconds)
    print(json.dumps({"windows_a_second": found}))
