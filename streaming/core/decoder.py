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

__all__ = ["Decoded", "Decoder", "Hypothesis"]


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
        blank_run_steps: silent rows after text that end the utterance; None
            never ends it.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        geometry: Geometry,
        *,
        start: int,
        temperature: float = 1.0,
        blank_run_steps: int | None = None,
    ) -> None:
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        if blank_run_steps is not None and blank_run_steps < 1:
            raise ValueError(
                f"blank_run_steps must be 1 or more, got {blank_run_steps}"
            )
        self._vocabulary = vocabulary
        self._geometry = geometry
        self._start = start
        self._temperature = temperature
        self._blank_run = blank_run_steps
        self._kept = Collapse(vocabulary)
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
        """Where the utterance should end: a run of blanks after text ended here.

        Samples from the utterance's first, a multiple of the stride. It follows
        from the rows alone, not from where the windows were cut. Rows after it
        are ignored.
        """
        return self._cut

    @property
    def kept_samples(self) -> int:
        """Samples of the hops taken so far, the cut included once there is one."""
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
        self._keep(path[:hop])
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
        whole = Collapse(self._vocabulary)
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

    def _keep(self, path: BestPath) -> None:
        """Collapse on, up to the cut if it lies in these rows."""
        end = self._end_of_blanks(path)
        if end is None:
            self._kept.push(path)
        else:
            self._kept.push(path[: end - self._kept.steps])
            self._kept.close()
            self._cut = end * self._geometry.stride

    def _end_of_blanks(self, path: BestPath) -> int | None:
        """The step at which a run of silence after text is long enough."""
        if self._blank_run is None:
            return None
        spoken = self._kept.spoken_end
        for run in path.runs(self._kept.steps):
            if spoken is not None and run.start - spoken >= self._blank_run:
                break
            if self._vocabulary.shows(run.label):
                spoken = run.end
        last = self._kept.steps + len(path)
        if spoken is None or last - spoken < self._blank_run:
            return None
        return spoken + self._blank_run

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
