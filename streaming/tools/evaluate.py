"""How often a model is wrong on a manifest, and how sure it should be.

Error rates with their intervals, by corpus; and the temperature that makes its
confidences mean what they say. Knows manifests and texts; the hearing is in
`transcribe.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from streaming.config import Config
from streaming.errors import ConfigError, UnsupportedAudio
from streaming.events import LogitRows, Samples
from streaming.numeric.calibration import Fit, fitted, judged, reliability
from streaming.numeric.recordings import read_samples
from streaming.numeric.wer import ErrorRate, WordErrors
from streaming.tools.corpus import Utterance, read_manifest
from streaming.tools.transcribe import Mode, Transcript, transcripts
from streaming.tools.workbench import Workbench, open_workbench

__all__ = ["CorpusRates", "Evaluation", "evaluate", "fit", "passes_of"]

_SEED = 7


@dataclass(frozen=True, slots=True)
class CorpusRates:
    """Error rates of one corpus, 0 to 1 (more where words are put in).

    Attributes:
        utterances: how many.
        words: expected.
        wer: word error rate, errors pooled.
        wer_interval: 95 % of resamplings of the utterances lie in it.
        cer: character error rate.
        cer_interval: likewise.
    """

    utterances: int
    words: int
    wer: float
    wer_interval: tuple[float, float]
    cer: float
    cer_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Error rates of a manifest; the fields are those of `CorpusRates`.

    Attributes:
        calibration_error: expected calibration error of the words' confidences,
            0 to 1; None where no word was heard.
        by_corpus: by the manifest's `corpus`, in its order.
    """

    utterances: int
    words: int
    wer: float
    wer_interval: tuple[float, float]
    cer: float
    cer_interval: tuple[float, float]
    calibration_error: float | None
    by_corpus: dict[str, CorpusRates]


@dataclass(slots=True)
class _Tally:
    """What was heard so far."""

    pooled: WordErrors = field(default_factory=WordErrors)
    by_corpus: dict[str, WordErrors] = field(default_factory=dict)
    sure: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    def add(self, row: Utterance, heard: Transcript) -> None:
        """Count one utterance."""
        self.pooled.add(row.text, heard.text)
        corpus = self.by_corpus.setdefault(row.corpus, WordErrors())
        corpus.add(row.text, heard.text)
        self.sure += [word.confidence for word in heard.words]
        self.right += judged(row.text, [word.word for word in heard.words])


def evaluate(manifest: Path, *, config: Config, mode: Mode) -> Evaluation:
    """Transcribe a manifest's recordings and compare them with its texts.

    Args:
        manifest: JSON lines with `audio` and `text`, and `corpus` where known.
        config: which model, and what a stream gets.
        mode: as `transcribe` has it.

    Raises:
        ConfigError: the manifest cannot be read, or is empty.
        UnsupportedAudio: a recording cannot be read: no rate without it is told.
        ModelError: the model cannot be loaded or run.
    """
    rows = read_manifest(manifest, texts=True)
    if not rows:
        raise ConfigError(f"{manifest} has no utterances")
    tally = _Tally()
    with open_workbench(config) as bench:
        paths = (row.path for row in rows)
        heard = transcripts(bench, paths, config.stream, mode)
        for row, done in zip(rows, heard, strict=True):
            if isinstance(done, UnsupportedAudio):
                raise done
            tally.add(row, done)
    return _evaluation(tally)


def fit(manifest: Path | Sequence[Utterance], *, config: Config) -> Fit:
    """Find the temperature and the bias that calibrate word confidences.

    Args:
        manifest: utterances that the model was not trained on, or the path of
            their manifest; those longer than one pass are left out.
        config: which model.

    Raises:
        ConfigError: the manifest cannot be read.
        UnsupportedAudio: a recording cannot be read.
        ModelError: the model cannot be loaded or run.
        ValueError: no words were heard.
    """
    rows = (
        read_manifest(manifest, texts=True) if isinstance(manifest, Path) else manifest
    )
    with open_workbench(config) as bench:
        read = ((read_samples(row.path, _rate(bench)), row.text) for row in rows)
        passes = list(passes_of(bench, read))
        return fitted(passes, bench.facts.vocabulary)


def passes_of(
    bench: Workbench, texts: Iterable[tuple[Samples, str]]
) -> Iterator[tuple[LogitRows, str]]:
    """The logits of one full-context pass over each recording, with its text.

    Args:
        bench: where.
        texts: recordings, `(n,)` at the model's rate, and what they say; those
            longer than one pass may be are left out.
    """
    said: list[str] = []

    def spans() -> Iterator[Samples]:
        for samples, text in texts:
            if len(samples) <= bench.longest_pass:
                said.append(text)
                yield samples

    for place, rows in enumerate(bench.passes(spans())):
        yield rows, said[place]


def _evaluation(tally: _Tally) -> Evaluation:
    random = np.random.default_rng(_SEED)
    whole = _rates(tally.pooled, random)
    error = reliability(tally.sure, tally.right).error if tally.sure else None
    return Evaluation(
        utterances=whole.utterances,
        words=whole.words,
        wer=whole.wer,
        wer_interval=whole.wer_interval,
        cer=whole.cer,
        cer_interval=whole.cer_interval,
        calibration_error=error,
        by_corpus={
            corpus: _rates(errors, random) for corpus, errors in tally.by_corpus.items()
        },
    )


def _rates(errors: WordErrors, random: np.random.Generator) -> CorpusRates:
    words, letters = errors.wer(random), errors.cer(random)
    return CorpusRates(
        len(errors),
        words.total,
        words.rate,
        _interval(words),
        letters.rate,
        _interval(letters),
    )


def _interval(rate: ErrorRate) -> tuple[float, float]:
    return rate.low, rate.high


def _rate(bench: Workbench) -> int:
    return bench.facts.geometry.sample_rate
