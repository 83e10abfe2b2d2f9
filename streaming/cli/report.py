"""What the demo says at its end: meant beside heard, latencies, accounting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clients.events import Final, Totals, Word
from clients.latency import Latencies, percentile
from streaming.numeric.wer import align, edits

__all__ = ["Meant", "Performance", "by_utterance", "marked", "report"]


@dataclass(frozen=True, slots=True)
class Meant:
    """An utterance of the recording as it was meant; times in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Performance:
    """What the demo did.

    Attributes:
        meant: what the recording says, in order.
        finals: what was heard.
        totals: what became of the samples.
        latencies: what was measured.
        silence_ms: configured silence that ends an utterance.
    """

    meant: Sequence[Meant]
    finals: Sequence[Final]
    totals: Totals
    latencies: Latencies
    silence_ms: int


def report(console: Console, told: Performance) -> None:
    """Print it all."""
    meant, totals = told.meant, told.totals
    heard = by_utterance(meant, told.finals)
    table = Table(box=None, pad_edge=False, padding=(0, 4, 0, 0))
    widest = max(len(utterance.text) for utterance in meant)
    table.add_column("meant", min_width=widest)
    table.add_column("heard", overflow="fold")
    for utterance, words in zip(meant, heard, strict=True):
        table.add_row(utterance.text, marked(utterance.text.split(), words))
    errors = sum(
        edits(utterance.text.split(), words)
        for utterance, words in zip(meant, heard, strict=True)
    )
    total = sum(len(utterance.text.split()) for utterance in meant)
    console.print()
    console.print(table)
    console.print(
        f"{errors} of {total} words wrong; marked: [heard otherwise] [+put in] [-lost]",
        markup=False,
    )
    console.print()
    console.print(_latencies(told.latencies, told.silence_ms))
    console.print(
        f"audio: {totals.received} samples sent = {totals.decoded} decoded "
        f"+ {totals.gated} not speech + {totals.dropped} dropped",
        soft_wrap=True,
    )


def by_utterance(meant: Sequence[Meant], finals: Sequence[Final]) -> list[list[str]]:
    """The words heard while each utterance was spoken, by the words' times."""
    heard: list[list[str]] = [[] for _ in meant]
    for final in finals:
        whole = Word(final.text, final.start, final.end, final.confidence)
        for word in final.words or (whole,):
            middle = (word.start + word.end) / 2
            place = min(
                range(len(meant)),
                key=lambda i: max(meant[i].start - middle, middle - meant[i].end, 0),
            )
            heard[place] += word.word.split()
    return heard


def marked(meant: Sequence[str], heard: Sequence[str]) -> Text:
    """The words heard, with what differs from what was meant in brackets."""
    line = Text()
    for wanted, got in align(meant, heard):
        if line:
            line.append(" ")
        if wanted == got:
            line.append(str(got))
        elif got is None:
            line.append(f"[-{wanted}]", style="red")
        else:
            line.append(f"[{'' if wanted else '+'}{got}]", style="red")
    return line


def _latencies(latencies: Latencies, silence_ms: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("latency", no_wrap=True)
    for name in ("p50", "p95", "of"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("from -> to", no_wrap=True)
    rows = (
        ("partial", latencies.partial, "last sample it covers -> partial"),
        ("first word", latencies.first_word, "onset of speech -> first words"),
        (
            "finalization",
            latencies.finalization,
            f"end of speech -> final, {silence_ms} ms of it silence",
        ),
    )
    for name, values, meaning in rows:
        if values:
            figures = [f"{percentile(values, p) * 1_000:.0f} ms" for p in (0.5, 0.95)]
        else:
            figures = ["-", "-"]
        table.add_row(name, *figures, str(len(values)), meaning)
    return table
