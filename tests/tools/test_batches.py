from pathlib import Path

import numpy as np
import pytest

from streaming.errors import ConfigError
from streaming.tools.batches import Batches
from streaming.tools.corpus import Utterance
from streaming.tools.recipe import Augmentation, CorpusShare, Recipe

RATE = 16_000
CLIP = 4_000
QUIET = Augmentation(edge_s=(0.0, 0.0), pause_s=(0.0, 0.0))


class Store:
    """One recording: a ramp, so that each sample says where it was."""

    def samples(self, _utterance):
        return np.linspace(0.1, 0.9, CLIP, dtype=np.float32)

    def seconds(self, _utterance):
        return CLIP / RATE


def drawn(share, count=200):
    """The lengths of examples."""
    recipe = Recipe((), (share,), augmentation=QUIET)
    rows = [Utterance(Path("a"), "six", "ann", share.name)]
    dice = np.random.default_rng(3)
    batches = Batches(recipe, rows, Store(), [], [], dice)
    found = []
    for batch in batches.draw(CLIP / RATE, 0.0):
        found += batch.counts.tolist()
        assert {"six"} == set(batch.texts)
        if len(found) >= count:
            break
    return np.array(found)


def test_clips_are_whole_where_nothing_is_asked():
    share = CorpusShare("c", 1.0, speed=(1.0, 1.0))

    lengths = drawn(share, 24)

    # Each clip's own speed varies by 4 % around the one that was drawn.
    assert np.abs(lengths / CLIP - 1).max() < 0.05


def test_half_of_the_clips_lose_their_soft_ends():
    share = CorpusShare("c", 1.0, speed=(1.0, 1.0), trim_db=(6.0, 6.0))

    lengths = drawn(share)

    # The ramp is half as loud as at its end from 0.45 of 0.1..0.9 on.
    expected = CLIP * (0.9 - 0.45) / (0.9 - 0.1)
    cut = lengths < 0.8 * CLIP
    assert 0.35 < cut.mean() < 0.8
    assert expected == pytest.approx(np.median(lengths[cut]), rel=0.1)


@pytest.mark.parametrize("wrong", [(-1.0, 10.0), (20.0, 10.0)])
def test_a_trim_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match="trim_db must rise"):
        CorpusShare("c", 1.0, trim_db=wrong)
