"""Stitch the windows of one utterance into text.

Each window's hop is kept and one collapse runs over all kept rows, so that they
tile as the samples do; the right context shows the unstable tail. Make one
decoder for an utterance. Knows nothing of streams, jobs or other utterances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streaming.errors import ModelError
from streaming.events import LogitRows, Logits, Word
from streaming.numeric.ctc import BestPath, Collapse, SpokenWord, best_path
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary

__all__ = ["BlankRun", "Decoded", "Decoder", "Hypothesis"]


@dataclass(frozen=True, slots=True)
class BlankRun:
    """When silence to the model ends an utterance that has text.

    Rows of the right context count too, though they may read otherwise once more
    of the audio is known. So they decide only whether the utterance ends, never
    where: that is a fixed number of rows after the last label, all of them kept,
    and whatever begins later is read anew, whole, by the next utterance.

    Attributes:
        steps: silent rows after the last label that end it.
        kept: how many of them belong to it.
    """

    steps: int
    kept: int

    def __post_init__(self) -> None:
        if not 1 <= self.kept <= self.steps:
            raise ValueError(
                f"kept must be 1 to the {self.steps} steps of the run, got {self.kept}"
            )


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The best text so far.

    Attributes:
        text: words of the kept rows and of the latest right context.
        stable: leading code points that later windows cannot change; the text
            ends there or goes on with another word.
        end_sample: the sample after the last it covers, from the utterance's first.
    """

    text: str = ""
    stable: int = 0
    end_sample: int = 0


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text that is done.

    Attributes:
        text: its words, joined.
        words: with seconds since the stream's start.
        confidence: the share of its words expected to be right, 0..1; 0.0 where
            there are none.
    """

    text: str
    words: tuple[Word, ...] = ()
    confidence: float = 0.0


class Decoder:
    """Turn the logits of one utterance into hypotheses and a text that is done.

    Args:
        vocabulary: what the columns mean.
        geometry: how rows lie over samples.
        start: the utterance's first sample, from the stream's first.
        temperature: divides the logits before a confidence is taken.
        bias: added to a confidence's log odds.
        blank_run: silence after text that ends the utterance; None never ends it.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        geometry: Geometry,
        *,
        start: int,
        temperature: float = 1.0,
        bias: float = 0.0,
        blank_run: BlankRun | None = None,
    ) -> None:
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self._vocabulary = vocabulary
        self._geometry = geometry
        self._start = start
        self._temperature = temperature
        self._blank_run = blank_run
        self._bias = bias
        self._kept = Collapse(vocabulary, bias)
        self._kept_samples = 0
        self._complete = False
        self._cut: int | None = None
        self._stable_text = ""
        self._stable_words = 0
        self._hypothesis = Hypothesis()

    @property
    def hypothesis(self) -> Hypothesis:
        """The text so far."""
        return self._hypothesis

    @property
    def cut(self) -> int | None:
        """Where the utterance should end, as a run of blanks followed its text.

        Samples from the utterance's first, a multiple of the stride. Hops may
        have been taken past it: they were silent. Rows after it are ignored.
        """
        return self._cut

    @property
    def kept_samples(self) -> int:
        """Samples of the hops taken so far, the cut within them if there is one."""
        return self._kept_samples

    @property
    def spoken_end(self) -> int | None:
        """The sample after the last label heard in kept rows; None before text.

        From the utterance's first, a multiple of the stride.
        """
        steps = self._kept.spoken_end
        return None if steps is None else steps * self._geometry.stride

    def accept(self, logits: Logits) -> None:
        """Take the next window.

        Raises:
            ModelError: not one row for each stride of the window, or not finite.
            ValueError: not the window that follows.
        """
        if self._cut is not None:
            return
        window = logits.job.window
        if self._complete or window.start != self._kept_samples:
            state = (
                "the last one" if self._complete else f"{self._kept_samples} samples"
            )
            raise ValueError(f"a window starting at {window.start} came after {state}")
        samples = window.left + window.hop + window.right
        self._check(logits.rows, samples)

        stride = self._geometry.stride
        left = window.left // stride
        hop = self._geometry.steps(window.left + window.hop) - left
        path = best_path(logits.rows[left:], self._temperature)
        self._keep(path, hop)
        self._kept_samples += window.hop
        self._complete = window.last
        if self._complete:
            self._kept.close()
        self._show(path[hop:], window.right)

    def stitched(self, length: int) -> Decoded:
        """The text of the kept rows; it extends the stable prefix shown.

        Args:
            length: samples of the utterance, as it ended. Labels of the open
                word that begin past it are left out.
        """
        last = self._kept.open(self._geometry.steps(length))
        return self._decoded([*self._kept.words, *([last] if last else [])], length)

    def full(self, rows: LogitRows, length: int) -> Decoded:
        """The text of one full-context pass over the utterance.

        Args:
            rows: one for each stride of at least `length` samples; the pass may
                have seen more than became the utterance.
            length: samples of the utterance, or as many as the pass saw.

        Raises:
            ModelError: too few rows, or not finite.
        """
        steps = self._geometry.steps(length)
        self._check(rows[:steps], length)
        whole = Collapse(self._vocabulary, self._bias)
        whole.push(best_path(rows[:steps], self._temperature))
        whole.close()
        return self._decoded(whole.words, length)

    def _check(self, rows: LogitRows, samples: int) -> None:
        wanted = self._geometry.steps(samples)
        if len(rows) != wanted:
            raise ModelError(
                f"the model gave {len(rows)} rows for {samples} samples, "
                f"expected {wanted}"
            )

    def _keep(self, path: BestPath, hop: int) -> None:
        """Collapse the hop's rows on, up to the cut if it is known by now."""
        end = self._end_of_text(path, self._kept.steps + hop)
        if end is None:
            self._kept.push(path[:hop])
        else:
            self._kept.push(path[: max(0, end - self._kept.steps)])
            self._kept.close()
            self._cut = end * self._geometry.stride

    def _end_of_text(self, path: BestPath, kept: int) -> int | None:
        """The step that ends the utterance, if the first `kept` steps hold it.

        Args:
            path: of the hop and its right context.
            kept: steps from the utterance's first to the end of the hop.
        """
        rule = self._blank_run
        if rule is None:
            return None
        spoken = self._kept.spoken_end
        for run in path.runs(self._kept.steps):
            if spoken is not None and run.start - spoken >= rule.steps:
                break
            if self._vocabulary.shows(run.label):
                spoken = run.end
        heard = self._kept.steps + len(path)
        if spoken is None or heard - spoken < rule.steps:
            return None
        end = spoken + rule.kept
        return end if end <= kept else None

    def _show(self, tail: BestPath, right: int) -> None:
        space = self._vocabulary.space
        fresh = [word.text for word in self._kept.words[self._stable_words :]]
        self._stable_text = _join(space, self._stable_text, fresh)
        self._stable_words += len(fresh)

        end = self._kept_samples
        unstable: list[str] = []
        if self._cut is not None:
            end = min(self._cut, end)  # a last hop may end inside the cut's stride
        elif not self._complete:
            end += right
            branch = self._kept.fork()
            branch.push(tail)
            branch.close()
            unstable = [word.text for word in branch.words]
        self._hypothesis = Hypothesis(
            text=_join(space, self._stable_text, unstable),
            stable=len(self._stable_text),
            end_sample=end,
        )

    def _decoded(self, spoken: Sequence[SpokenWord], length: int) -> Decoded:
        if not spoken:
            return Decoded("")
        words = tuple(
            Word(
                word=word.text,
                start=self._seconds(word.start, length),
                end=self._seconds(word.end, length),
                confidence=word.confidence,
            )
            for word in spoken
        )
        return Decoded(
            text=self._vocabulary.space.join(word.text for word in spoken),
            words=words,
            confidence=sum(word.confidence for word in spoken) / len(spoken),
        )

    def _seconds(self, step: int, length: int) -> float:
        """A step's begin in the stream, never past the utterance's end."""
        sample = min(step * self._geometry.stride, length)
        return (self._start + sample) / self._geometry.sample_rate


def _join(space: str, text: str, words: Sequence[str]) -> str:
    return space.join([text, *words] if text else words)
