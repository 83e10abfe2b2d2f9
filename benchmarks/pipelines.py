"""What people do without a server: the transformers pipeline on a sliding window.

Its own `chunk_length_s` and `stride_length_s`, called again for each hop of each
stream. Knows transformers; nothing of our engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from streaming.config import WindowConfig

__all__ = ["pipeline_streams"]

_RATE = 16_000


def pipeline_streams(
    folder: Path, window: WindowConfig, precision: str, cores: int, seconds: float
) -> float:
    """Streams that it carries: 1 / (its real-time factor x its redundancy).

    One call over all cores or one on each, whichever does more; nobody waits, and no
    latency is asked of it.

    Args:
        folder: the checkpoint.
        window: its left context, hop and right context.
        precision: `fp32`, `bf16`, or `int8` (torch's dynamic quantisation).
        cores: to use.
        seconds: measured for each way.
    """
    import torch  # noqa: PLC0415

    left_s = window.left(stateful=False) / 1_000
    hop_s, right_s = window.hop_ms / 1_000, window.right_ms / 1_000
    window_s = left_s + hop_s + right_s
    noise = np.random.default_rng(0).standard_normal(int(window_s * _RATE))
    heard = {"raw": noise.astype(np.float32) * 0.1, "sampling_rate": _RATE}
    pipe = _pipeline(folder, precision)
    threads = torch.get_num_threads()

    def call() -> None:
        # It takes out of the dictionary what it is given.
        pipe(dict(heard), chunk_length_s=window_s, stride_length_s=(left_s, right_s))

    try:
        torch.set_num_threads(cores)
        together = _calls_a_second(call, 1, seconds)
        torch.set_num_threads(1)
        apart = _calls_a_second(call, cores, seconds)
    finally:
        torch.set_num_threads(threads)
    # A call takes rtf * window_s, and serves one hop.
    return max(together, apart) * hop_s


def _calls_a_second(call: Callable[[], None], at_once: int, seconds: float) -> float:
    def work(_: int) -> float:
        call()  # allocates
        began, calls = time.monotonic(), 0
        while (took := time.monotonic() - began) < seconds or not calls:
            call()
            calls += 1
        return calls / took

    with ThreadPoolExecutor(at_once) as pool:
        return sum(pool.map(work, range(at_once)))


def _pipeline(folder: Path, precision: str) -> Any:
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    from streaming.models.checkpoint import read_checkpoint  # noqa: PLC0415
    from streaming.models.pytorch import load_module  # noqa: PLC0415

    module = load_module(read_checkpoint(folder))
    match precision:
        case "bf16":
            module = module.to(torch.bfloat16)
        case "int8":
            quantization: Any = torch.ao.quantization
            module = quantization.quantize_dynamic(module, {torch.nn.Linear})
        case _:
            pass
    tokenizer: Any = transformers.Wav2Vec2CTCTokenizer
    extractor: Any = transformers.Wav2Vec2FeatureExtractor
    pipeline: Any = transformers.pipeline
    return pipeline(
        "automatic-speech-recognition",
        model=module,
        tokenizer=tokenizer(str(folder / "vocab.json")),
        feature_extractor=extractor(),
        dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
    )
