"""What was counted, as numbers with names: rates, gaps, percentiles, pools.

Makes the object that `accuracy.py` saves and prints. Knows counts; no model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from benchmarks.counting import Counted, pooled
from benchmarks.measures import summary
from benchmarks.samples import DOMAIN
from benchmarks.ways import Way
from streaming.numeric.calibration import reliability
from streaming.numeric.wer import WordErrors

__all__ = ["compared", "measured", "pools", "told_errors", "told_way"]

_SEED = 7


def pools(corpora: Collection[str]) -> dict[str, list[str]]:
    """Which test sets are counted together, by the name of the pool.

    Those that the bundled model is for, and all of them; where that would be the
    same, or none, only the one that is there.
    """
    domain = [corpus for corpus in corpora if corpus in DOMAIN]
    found = {"domain": domain} if domain else {}
    return found if len(domain) == len(corpora) else found | {"all": list(corpora)}


def told_errors(by_corpus: Mapping[str, WordErrors]) -> dict[str, Any]:
    """Rates of each test set and each pool."""
    random = np.random.default_rng(_SEED)
    return {
        "by_corpus": {k: _rate(v, random) for k, v in by_corpus.items()},
        "pooled": {
            name: _rate(_together(by_corpus[k] for k in corpora), random)
            for name, corpora in pools(by_corpus).items()
        },
    }


def told_way(way: Way, by_corpus: Mapping[str, Counted]) -> dict[str, Any]:
    """Everything of one way, for each test set and each pool."""
    return {
        "way": way.name,
        "inference": way.inference,
        "shape": way.shape,
        "left_ms": way.left_ms,
        "hop_ms": way.window.hop_ms,
        "right_ms": way.window.right_ms,
        "finals": way.finals.value,
        "by_corpus": {corpus: measured(each) for corpus, each in by_corpus.items()},
        "pooled": {
            name: measured(pooled(by_corpus[corpus] for corpus in corpora))
            for name, corpora in pools(by_corpus).items()
        },
    }


def measured(counted: Counted) -> dict[str, Any]:
    """The measures of benchmarks/README.md."""
    random = np.random.default_rng(_SEED)
    words = max(1, counted.borders.words)
    return {
        "wer": _rate(counted.streamed, random),
        "wer_spans": _rate(counted.spans, random),
        "gap_spans": counted.streamed.gap(counted.spans, random),
        "gap_whole": counted.streamed.gap(counted.whole, random),
        "upwr": counted.churn.upwr,
        "upwr_at_final": counted.churn.at_final / max(1, counted.churn.words),
        "growth": counted.churn.growth,
        "flicker_per_s": counted.churn.flicker,
        "emission_s": summary(counted.emission),
        "emission_with_finals_s": summary(counted.emission + counted.by_final),
        "words_shown_by_the_final_only": len(counted.by_final),
        "words_never_shown": counted.never_kept,
        "redundancy": counted.work / max(1.0, counted.least_work),
        "redundancy_samples": counted.computed / max(1, counted.decoded),
        "borders": {
            "words": counted.borders.words,
            "lost": counted.borders.lost / words,
            "doubled": counted.borders.doubled / words,
            "changed": counted.borders.changed / words,
            "added": counted.borders.added / words,
        },
        "calibration_error": reliability(counted.sure, counted.right).error
        if counted.sure
        else None,
        "finals_made_by": dict(counted.made_by),
        "audio_loss": counted.lost_samples,
    }


def compared(
    before: Mapping[str, WordErrors], after: Mapping[str, WordErrors]
) -> dict[str, Any]:
    """How much higher the error rate is after, recordings drawn in pairs."""
    random = np.random.default_rng(_SEED)
    return {
        name: _together(after[k] for k in corpora).gap(
            _together(before[k] for k in corpora), random
        )
        for name, corpora in pools(before).items()
    }


def _together(errors: Iterable[WordErrors]) -> WordErrors:
    together = WordErrors()
    for each in errors:
        together.extend(each)
    return together


def _rate(errors: WordErrors, random: np.random.Generator) -> dict[str, Any]:
    wer = errors.wer(random)
    return {
        "wer": wer.rate,
        "low": wer.low,
        "high": wer.high,
        "errors": wer.errors,
        "words": wer.total,
        "texts": len(errors),
    }
