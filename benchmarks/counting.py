"""Recordings on an open workbench: decoded whole, streamed, and counted by corpus.

Knows sessions, spans and measures; not which ways are asked for, nor how what was
counted is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks.measures import Churn, churn, first_kept, shown
from benchmarks.samples import RATE, Sample
from benchmarks.work import Streaming
from streaming.config import StreamConfig
from streaming.core.decoder import Decoded
from streaming.events import Final
from streaming.numeric.calibration import judged
from streaming.numeric.wer import BorderErrors, WordErrors, border_errors
from streaming.tools.onepass import one_passes, spans_decoded
from streaming.tools.playing import Heard, Take, play
from streaming.tools.workbench import Workbench

__all__ = ["Counted", "Recordings", "pooled"]

_Span = tuple[int, int, int]  # sample, first and last place


@dataclass(slots=True)
class Counted:
    """What one way of streaming did, over some recordings.

    Attributes:
        streamed: errors of its finals.
        spans: of one full-context pass over the very audio of each final.
        whole: of one full-context pass over each recording.
        churn: what partials took back.
        emission: seconds of audio from a word's end to its first partial.
        by_final: the same of words that only the final showed.
        never_kept: words of the passes that no final has.
        borders: finals against the passes over their spans.
        sure: confidence of each word.
        right: whether it was.
        work: operations of all that was run.
        least_work: of one pass over each utterance.
        computed: samples of all that was run, contexts included.
        decoded: samples of the utterances.
        made_by: finals by how they were made.
        lost_samples: neither decoded nor told as not speech.
    """

    streamed: WordErrors = field(default_factory=WordErrors)
    spans: WordErrors = field(default_factory=WordErrors)
    whole: WordErrors = field(default_factory=WordErrors)
    churn: Churn = field(default_factory=Churn)
    emission: list[float] = field(default_factory=list)
    by_final: list[float] = field(default_factory=list)
    never_kept: int = 0
    borders: BorderErrors = field(default_factory=BorderErrors)
    sure: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    work: float = 0.0
    least_work: float = 0.0
    computed: int = 0
    decoded: int = 0
    made_by: Counter[str] = field(default_factory=Counter)
    lost_samples: int = 0

    def add(self, other: Counted) -> None:
        """Count the recordings of another too, after these."""
        self.streamed.extend(other.streamed)
        self.spans.extend(other.spans)
        self.whole.extend(other.whole)
        self.churn += other.churn
        self.emission += other.emission
        self.by_final += other.by_final
        self.never_kept += other.never_kept
        self.borders += other.borders
        self.sure += other.sure
        self.right += other.right
        self.work += other.work
        self.least_work += other.least_work
        self.computed += other.computed
        self.decoded += other.decoded
        self.made_by += other.made_by
        self.lost_samples += other.lost_samples


def pooled(counted: Iterable[Counted]) -> Counted:
    """Several counts as one."""
    pool = Counted()
    for each in counted:
        pool.add(each)
    return pool


class Recordings:
    """Recordings that one checkpoint hears in several ways.

    What full-context passes gave is kept: it is the same however the checkpoint
    streams.

    Args:
        samples: the recordings.
        label: of the checkpoint, for progress.
    """

    def __init__(self, samples: Sequence[Sample], label: str = "") -> None:
        self._samples = samples
        self._label = label
        self._wholes: list[str] = []
        self._spans: dict[_Span, Decoded] = {}

    def wholes(self, bench: Workbench) -> dict[str, WordErrors]:
        """Errors of one full-context pass over each recording, by corpus."""
        if not self._wholes:
            heard = one_passes(bench, (sample.samples for sample in self._samples))
            self._wholes = [each.text for each in self._tracked(heard, "whole files")]
        found: dict[str, WordErrors] = {}
        for sample, text in zip(self._samples, self._wholes, strict=True):
            found.setdefault(sample.corpus, WordErrors()).add(sample.text, text)
        return found

    def streamed(
        self, bench: Workbench, config: StreamConfig, work: Streaming, label: str
    ) -> dict[str, Counted]:
        """Stream every recording, and count by corpus.

        Args:
            bench: where.
            config: the way.
            work: counts what it costs.
            label: for progress.
        """
        wholes = self.wholes(bench)
        takes = (Take.of(sample.samples, RATE) for sample in self._samples)
        heard = list(self._tracked(play(bench, takes, config), label))
        self._decode_spans(bench, heard)
        found = {corpus: Counted(whole=whole) for corpus, whole in wholes.items()}
        for place, (sample, told) in enumerate(zip(self._samples, heard, strict=True)):
            if told.error is not None:
                raise told.error
            self._count(found[sample.corpus], place, told, work)
        return found

    def _tracked(self, work: Iterator[Any], label: str) -> Iterator[Any]:
        yield from track(
            work,
            description=f"{self._label} {label}".strip(),
            total=len(self._samples),
            console=Console(stderr=True),
        )

    def _decode_spans(self, bench: Workbench, heard: Sequence[Heard]) -> None:
        """One full-context pass over each final's audio, unless it was done before."""
        wanted = dict.fromkeys(
            _span(place, final)
            for place, told in enumerate(heard)
            for final in told.finals
        )
        new = [span for span in wanted if span not in self._spans]
        audio = ((self._samples[n].samples[a:b], a) for n, a, b in new)
        self._spans |= zip(new, spans_decoded(bench, audio), strict=True)

    def _count(
        self, counted: Counted, place: int, told: Heard, work: Streaming
    ) -> None:
        sample = self._samples[place]
        passes = [self._spans[_span(place, final)] for final in told.finals]
        streamed = " ".join(final.text for final in told.finals)
        spans = " ".join(decoded.text for decoded in passes)
        counted.streamed.add(sample.text, streamed)
        counted.spans.add(sample.text, spans)
        counted.borders += border_errors(spans, streamed)
        words = [word for final in told.finals for word in final.words]
        counted.sure += [word.confidence for word in words]
        counted.right += judged(sample.text, [word.word for word in words])
        counted.work += work.spent(told.passes)
        counted.computed += sum(ran.samples for ran in told.passes)
        for final in told.finals:
            length = round((final.end - final.start) * RATE)
            counted.least_work += work.one_pass(length)
            counted.decoded += length
            counted.made_by[final.made_by.value] += 1
        [totals] = told.totals
        counted.lost_samples += len(sample.samples) - totals.decoded - totals.gated
        self._count_showing(counted, place, told)

    def _count_showing(self, counted: Counted, place: int, told: Heard) -> None:
        timed = ((given / RATE, event) for given, event in told.events)
        for utterance in shown(timed):
            if not isinstance(utterance.final, Final):
                raise RuntimeError(f"{self._samples[place].name}: no final")
            final = utterance.final
            hypotheses = [words for _, words in utterance.hypotheses]
            counted.churn += churn(hypotheses, final.end - final.start)
            words = self._spans[_span(place, final)].words
            kept = first_kept(hypotheses, [word.word for word in words])
            for word, number in zip(words, kept, strict=True):
                if number is None:
                    counted.never_kept += 1
                    continue
                waited = utterance.hypotheses[number][0] - word.end
                by_partial = number < len(utterance.partials)
                (counted.emission if by_partial else counted.by_final).append(waited)


def _span(place: int, final: Final) -> _Span:
    return place, round(final.start * RATE), round(final.end * RATE)
