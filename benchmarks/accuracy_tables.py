"""What `accuracy.py` found as Markdown tables, for a terminal and for a page.

Knows the object that it saves; measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from benchmarks.markdown import print_table

__all__ = ["accuracy_tables"]

_POOLS = {"domain": "domain, pooled", "all": "all, pooled"}

_MEASURES = (
    "redundancy",
    "samples",
    "WER (95 %)",
    "gap, same spans (95 %)",
    "gap, whole files (95 %)",
    "UPWR",
    "grown",
    "flicker /s",
    "emission p50",
    "p95",
    "p95 with finals",
    "lost",
    "doubled",
    "changed",
    "calibration",
)


def accuracy_tables(console: Console, found: Mapping[str, Any]) -> None:
    """A row for each way: its WER by test set, then its measures by pool.

    Where two checkpoints were heard, their WER beside each other comes last.
    """
    minutes = found["audio_s"] / 60
    for one in (found, found.get("against")):
        if one is None:
            continue
        console.print(f"\nmodel {one['model']}, {minutes:.1f} min of audio\n")
        print_table(console, *_wer_table(one))
        for pool in one["offline"]["pooled"]:
            rows = [[way["way"], *_way(way["pooled"][pool])] for way in one["ways"]]
            print_table(console, [_POOLS[pool], *_MEASURES], rows)
    if "against" in found:
        console.print(f"\n{found['model']} and {found['against']['model']}\n")
        print_table(
            console, *_comparison(found, found["against"], found["differences"])
        )


def _wer_table(one: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """WER of the whole files, then of each way: by test set and pool."""
    offline = one["offline"]
    corpora, pooled = offline["by_corpus"], offline["pooled"]
    rows = [
        [
            "words",
            *(
                str(each["words"])
                for part in (corpora, pooled)
                for each in part.values()
            ),
        ],
        [
            "offline",
            *(_percent(each["wer"]) for each in corpora.values()),
            *(_rate(each) for each in pooled.values()),
        ],
    ]
    for way in one["ways"]:
        by_corpus = (way["by_corpus"][name]["wer"] for name in corpora)
        pools = (way["pooled"][name]["wer"] for name in pooled)
        rows.append(
            [
                way["way"],
                *(_percent(each["wer"]) for each in by_corpus),
                *(_rate(each) for each in pools),
            ]
        )
    heads = [*corpora, *(f"{_POOLS[name]} (95 %)" for name in pooled)]
    return ["WER", *heads], rows


def _comparison(
    before: Mapping[str, Any], after: Mapping[str, Any], differences: Mapping[str, Any]
) -> tuple[list[str], list[list[str]]]:
    """Pooled WER of both and the difference, then both for each test set."""
    corpora, pools = before["offline"]["by_corpus"], before["offline"]["pooled"]

    def row(
        name: str,
        both: Sequence[Mapping[str, Any]],
        difference: Mapping[str, Sequence[float]],
    ) -> list[str]:
        cells = [name]
        for pool in pools:
            cells += [_percent(each["pooled"][pool]["wer"]) for each in both]
            cells.append(_gap(difference[pool]))
        for corpus in corpora:
            one, other = (each["by_corpus"][corpus]["wer"] for each in both)
            cells.append(f"{_percent(one)} {_percent(other)}")
        return cells

    rows = [
        row("offline", [before["offline"], after["offline"]], differences["offline"])
    ]
    for one, other, difference in zip(
        before["ways"], after["ways"], differences["ways"], strict=True
    ):
        both = [
            {
                part: {k: v["wer"] for k, v in way[part].items()}
                for part in ("by_corpus", "pooled")
            }
            for way in (one, other)
        ]
        rows.append(row(one["way"], both, difference))
    heads = [
        head
        for pool in pools
        for head in (f"{_POOLS[pool]}: before", "after", "difference (95 %)")
    ]
    return ["WER", *heads, *corpora], rows


def _way(measured: Mapping[str, Any]) -> list[str]:
    borders = measured["borders"]
    calibration = measured["calibration_error"]
    return [
        f"{measured['redundancy']:.2f}",
        f"{measured['redundancy_samples']:.2f}",
        _rate(measured["wer"]),
        _gap(measured["gap_spans"]),
        _gap(measured["gap_whole"]),
        f"{measured['upwr']:.3f}",
        f"{measured['growth']:.3f}",
        f"{measured['flicker_per_s']:.2f}",
        _seconds(measured["emission_s"]["p50"]),
        _seconds(measured["emission_s"]["p95"]),
        _seconds(measured["emission_with_finals_s"]["p95"]),
        _percent(borders["lost"]),
        _percent(borders["doubled"]),
        _percent(borders["changed"]),
        "-" if calibration is None else _percent(calibration),
    ]


def _rate(rate: Mapping[str, Any]) -> str:
    return f"{_percent(rate['wer'])} ({rate['low']:.1%} to {rate['high']:.1%})"


def _gap(gap: Sequence[float]) -> str:
    value, low, high = (100 * each for each in gap)
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
