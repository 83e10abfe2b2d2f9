"""The end of the demo: meant beside heard."""

from __future__ import annotations

import io

from rich.console import Console

from clients.events import Final, Totals, Word
from clients.latency import Latencies
from streaming.cli.report import Meant, Performance, by_utterance, marked, report

MEANT = [Meant("zero four one", 1.0, 2.0), Meant("stop", 3.0, 3.5)]


def final(text, start, end, *words):
    return Final(0, 0, text, start, end, 1.0, "full", tuple(words))


def test_words_belong_to_the_utterance_spoken_when_they_were_heard():
    joined = final(
        "zero for stop",
        0.8,
        3.6,
        Word("zero", 1.0, 1.3, 1.0),
        Word("for", 1.4, 1.7, 1.0),
        Word("stop", 2.9, 3.4, 1.0),
    )

    assert [["zero", "for"], ["stop"]] == by_utterance(MEANT, [joined])


def test_a_final_without_word_times_goes_by_its_own():
    finals = [final("zero for", 0.8, 2.2), final("", 2.5, 2.6), final("stop", 3, 3.6)]

    assert [["zero", "for"], ["stop"]] == by_utterance(MEANT, finals)


def test_differences_are_marked():
    assert "[for] x [+uh]" == marked("four x".split(), "for x uh".split()).plain
    assert "[-b] x" == marked("b x".split(), ["x"]).plain
    assert "a b" == marked(["a", "b"], ["a", "b"]).plain
    assert "" == marked([], []).plain


def told(**changed):
    latencies = Latencies(16_000)
    latencies.partial.extend([0.1, 0.2])
    finals = [final("zero for one", 0.8, 2.2), final("stop", 3, 3.6)]
    return Performance(
        **{
            "meant": MEANT,
            "finals": finals,
            "totals": Totals(100, 60, 40, 0, 0),
            "latencies": latencies,
            "silence_ms": 500,
        }
        | changed
    )


def printed(performance):
    console = Console(file=io.StringIO(), width=80, highlight=False)
    report(console, performance)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_report_fits_80_columns_and_says_everything():
    lines = printed(told())

    assert "zero four one    zero [for] one" in lines
    assert "stop             stop" in lines
    assert any(line.startswith("1 of 4 words wrong") for line in lines)
    assert any(line.split()[:6] == "partial 100 ms 200 ms 2".split() for line in lines)
    assert any("500 ms of it silence" in line for line in lines)
    assert (
        "audio: 100 samples sent = 60 decoded + 40 not speech + 0 dropped" == lines[-1]
    )
    assert not any("…" in line for line in lines)


def test_nothing_heard_is_no_fault():
    lines = printed(told(finals=[], latencies=Latencies(16_000)))

    assert any(line.startswith("4 of 4 words wrong") for line in lines)
    assert any("[-zero] [-four] [-one]" in line for line in lines)
