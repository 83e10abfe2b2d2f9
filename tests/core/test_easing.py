"""What a session does on each rung of the load ladder, and what it never does."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.config import Finals
from streaming.core.ladder import LADDER, NORMAL
from streaming.events import (
    Audio,
    Final,
    Finish,
    Finished,
    Job,
    Load,
    Partial,
    Pass,
)
from tests.core.rig import Rig, sound, with_finals
from tests.core.test_session import scripts, told

RUNGS = {rung.level: rung for rung in LADDER}
SPEECH = [("a", 600), (" ", 60), ("b", 2_000), (" ", 900), ("c", 1_000)]


class Eased(Rig):
    """A rig that keeps its jobs too, and goes by a plan of rungs."""

    def take(self, effects):
        self.seen = [
            *getattr(self, "seen", []),
            *(each for each in effects if isinstance(each, Job)),
        ]
        super().take(effects)

    def ease(self, rung, longest=10**9):
        self.take(self.session.ease(rung, longest))

    def play_eased(self, samples, plan, chunk=320):
        """Send chunks; `plan` has the rung from a chunk's number on."""
        for n, start in enumerate(range(0, len(samples), chunk)):
            if n in plan:
                self.ease(plan[n])
            self.now += chunk / 16_000
            self.send(Audio(samples[start : start + chunk].tobytes()))
        self.send(Finish())
        self.answer_all()
        return self


def windows(rig):
    return [job for job in rig.seen if job.kind is Pass.STITCHED]


def full_passes(rig):
    return [job for job in rig.seen if job.kind is Pass.FULL]


def eased(level, finals=Finals.AUTO):
    return Eased(with_finals(finals)).play_eased(sound(SPEECH), {0: RUNGS[level]})


def test_each_change_is_told_to_the_client():
    rig = Eased()
    for rung in (*LADDER[1:], NORMAL):
        rig.ease(rung)

    assert [Load(rung.level) for rung in (*LADDER[1:], NORMAL)] == rig.events


def test_a_session_that_has_finished_says_nothing_more():
    rig = Rig().play(sound(SPEECH))

    assert [] == rig.session.ease(LADDER[1], 10**9)


@pytest.mark.parametrize("level", RUNGS)
def test_on_every_rung_all_finals_come_and_all_audio_is_accounted_for(level):
    rig = eased(level)

    assert ["ab", "c"] == rig.texts
    kind = Pass.FULL if RUNGS[level].full_passes else Pass.STITCHED
    assert {kind} == {final.made_by for final in rig.finals}
    (totals,) = rig.of(Finished)[0].totals
    assert totals.received == totals.decoded + totals.gated
    assert 0 == totals.dropped


@pytest.mark.parametrize("level", RUNGS)
def test_hops_are_as_many_as_the_rung_says_and_full_passes_none(level):
    rig, rung = eased(level), RUNGS[level]

    hops = {job.window.hop for job in windows(rig) if not job.window.last}
    assert {rung.hops * 320 * 16} == hops
    assert rung.full_passes == bool(full_passes(rig))


def test_partials_are_coalesced_then_none():
    words = sound([("a", 250), (" ", 70), ("b", 250), (" ", 70)] * 6)
    partials = {
        level: Eased().play_eased(words, {0: rung}).of(Partial)
        for level, rung in RUNGS.items()
    }

    ends = [p.end for p in partials["coalesced"]]
    assert len(ends) > 2
    assert all(b - a >= 0.96 - 1e-9 for a, b in pairwise(ends))
    counts = [len(partials[level]) for level in ("stitched", "longer_hop", "coalesced")]
    assert counts == sorted(counts, reverse=True)
    assert [] == partials["finals_only"] == partials["refuse"]


def test_a_longer_hop_is_not_longer_than_the_machine_affords():
    rig = Eased()
    rig.ease(RUNGS["finals_only"], longest=(640 + 2 * 320 + 320) * 16)
    rig.play_eased(sound(SPEECH), {})

    assert {640 * 16} == {j.window.hop for j in windows(rig) if not j.window.last}


def test_every_job_says_what_its_budget_is():
    rig = eased("normal")

    assert {0.5} == {job.budget_s for job in windows(rig)}
    # A full pass begun 300 ms before the utterance can end has them on top.
    assert {0.5, 0.8} == {0.5, *(round(job.budget_s, 3) for job in full_passes(rig))}


def test_after_the_load_full_passes_are_asked_for_again():
    samples = sound(SPEECH)
    rig = Eased(with_finals(Finals.AUTO))

    rig.play_eased(samples, {0: RUNGS["refuse"], 180: NORMAL})

    assert [Pass.STITCHED, Pass.FULL] == [f.made_by for f in rig.finals]


plans = st.dictionaries(st.integers(0, 200), st.sampled_from(LADDER), max_size=8)


@given(scripts, plans, st.sampled_from([320, 1_000, 4_800]))
@settings(max_examples=60, deadline=None)
def test_load_changes_no_word_where_a_row_does_not_depend_on_its_window(
    script, plan, chunk
):
    """Hops tile whatever their lengths: no sample is decoded twice or left out."""
    samples = sound(script)
    stitched = with_finals(Finals.STITCHED)

    calm = Eased(stitched).play_eased(samples, {}, chunk)
    loaded = Eased(stitched).play_eased(samples, plan, chunk)

    assert told(calm) == [e for e in told(loaded) if not isinstance(e, Load)]


@given(scripts, plans)
@settings(max_examples=40, deadline=None)
def test_a_stable_prefix_is_kept_whatever_the_load(script, plan):
    rig = Eased(with_finals(Finals.STITCHED)).play_eased(sound(script), plan)

    shown: dict[int, str] = {}
    for event in rig.events:
        if isinstance(event, Partial | Final):
            stable = shown.get(event.utterance, "")
            assert event.text.startswith(stable)
            if isinstance(event, Partial):
                shown[event.utterance] = event.text[: event.stable]
