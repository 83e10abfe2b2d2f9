"""Read manifests and keep their audio decoded on disk.

A manifest is JSON lines with `audio` (path relative to it), `text`, and
optionally `speaker`, `corpus` and `duration`. Decoding happens once: the
samples lie in one memory-mapped int16 file. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from streaming.errors import ConfigError

__all__ = ["AudioStore", "Utterance", "held_out", "read_manifest"]

SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Utterance:
    """One row of a manifest; `path` is absolute."""

    path: Path
    text: str
    speaker: str = ""
    corpus: str = ""
    kind: str = ""


def read_manifest(path: Path, *, texts: bool = False) -> list[Utterance]:
    """The rows of a manifest.

    Args:
        path: the manifest.
        texts: each row must have a `text`, be it an empty one.

    Raises:
        ConfigError: no such file, a line that is not JSON, or one without `audio`
            or the `text` it must have.
    """
    if not path.is_file():
        raise ConfigError(f"no manifest at {path}")
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            row = json.loads(line)
            text = row["text"] if texts else row.get("text", "")
            if not isinstance(text, str):
                raise TypeError(text)
            rows.append(
                Utterance(
                    path.parent / row["audio"],
                    text,
                    str(row.get("speaker", "")),
                    str(row.get("corpus", "")),
                    str(row.get("kind", "")),
                )
            )
        except ValueError as error:
            raise ConfigError(f"{path}:{number}: not JSON: {error}") from error
        except (AttributeError, KeyError, TypeError) as error:
            wanted = "audio and text" if texts else "audio"
            raise ConfigError(
                f"{path}:{number}: a row is an object with {wanted}, got {line[:80]}"
            ) from error
    return rows


def held_out(utterance: Utterance, one_in: int) -> bool:
    """Whether this utterance is kept for testing, by a hash of its file name."""
    return one_in > 0 and zlib.crc32(utterance.path.name.encode()) % one_in == 0


class AudioStore:
    """The samples of many utterances, 16 kHz mono, decoded once.

    Args:
        utterances: whose audio to hold.
        folder: where the decoded samples are kept between runs.
        progress: called with the share done, 0 to 1.
    """

    def __init__(
        self,
        utterances: Iterable[Utterance],
        folder: Path,
        progress: Callable[[float], None] = lambda _: None,
    ) -> None:
        paths = [u.path for u in utterances]
        listing = "\n".join(f"{p} {p.stat().st_size}" for p in paths)
        name = hashlib.sha256(listing.encode()).hexdigest()[:16]
        samples, ends = folder / f"{name}.pcm", folder / f"{name}.npy"
        if not ends.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _decode(paths, samples, ends, progress)
        bounds = np.concatenate(([0], np.load(ends)))
        self._samples = (
            np.memmap(samples, np.int16, "r") if bounds[-1] else np.empty(0, np.int16)
        )
        self._spans = dict(zip(paths, pairwise(bounds), strict=True))

    def samples(self, utterance: Utterance) -> npt.NDArray[np.float32]:
        """Its samples, shape `(n,)`, in -1..1."""
        start, end = self._spans[utterance.path]
        return self._samples[start:end].astype(np.float32) / np.float32(32_768)

    def seconds(self, utterance: Utterance) -> float:
        """Its length."""
        start, end = self._spans[utterance.path]
        return float(end - start) / SAMPLE_RATE


def _decode(
    paths: list[Path], samples: Path, ends: Path, progress: Callable[[float], None]
) -> None:
    total, bounds = 0, []
    with samples.open("wb") as out:
        for number, path in enumerate(paths, 1):
            audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
            mono = audio.mean(axis=1)
            if rate != SAMPLE_RATE:
                mono = soxr.resample(mono, rate, SAMPLE_RATE)
            out.write((mono.clip(-1, 1) * 32_767).astype("<i2").tobytes())
            total += len(mono)
            bounds.append(total)
            progress(number / len(paths))
    np.save(ends, np.array(bounds, np.int64))
