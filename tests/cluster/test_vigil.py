from __future__ import annotations

import pytest

from streaming.cluster.vigil import Vigil


def test_who_says_nothing_for_too_long_hangs_and_is_told_once():
    vigil = Vigil(30.0)
    vigil.heard("engine-0")
    vigil.heard("engine-1")
    told = []
    for second in range(50):
        vigil.heard("engine-1")
        told += [(second, *each) for each in vigil.look(100.0 + second)]

    assert [(31, "engine-0", "it has said nothing for 31 s")] == told


def test_one_that_says_itself_that_it_hangs_is_believed_at_once():
    vigil = Vigil(30.0)
    vigil.look(0.0)
    vigil.heard("engine-0", "a pass has run for 40 s")

    assert [("engine-0", "a pass has run for 40 s")] == vigil.look(1.0)
    assert [] == vigil.look(2.0)


def test_who_was_never_heard_or_has_ended_is_not_watched():
    vigil = Vigil(5.0)
    vigil.heard("engine-0")
    vigil.over("engine-0")
    vigil.over("ingest-0")

    assert [] == [each for second in range(20) for each in vigil.look(second)]


@pytest.mark.parametrize("pause", [60.0, 1e6])
def test_a_machine_that_was_suspended_kills_nobody(pause):
    """Nor does a parent that gets no time to look."""
    vigil = Vigil(30.0)
    vigil.heard("engine-0")

    assert [] == [each for n in range(14) for each in vigil.look(n * pause)]
