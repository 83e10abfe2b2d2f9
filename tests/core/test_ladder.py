"""The ladder: down fast, up slowly, and never to and fro."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.core.ladder import LADDER, NORMAL, Ladder, Patience, Rung, Strain
from tests.conftest import ROOT

CALM = Strain(used=0.2, busy=0.2, needed=0.2)
LATE = Strain(used=1.5, busy=1.0, needed=1.0)
TICK_S = 0.25


def drive(ladder, strains, start=0.0):
    """Step every quarter of a second; return the number of the rung after each."""
    numbers = []
    for n, strain in enumerate(strains):
        ladder.step(strain, start + n * TICK_S)
        numbers.append(ladder.number)
    return numbers


def changes(numbers):
    return sum(a != b for a, b in pairwise(numbers))


def test_the_table_saves_more_on_each_rung_and_ends_in_refusal():
    assert NORMAL == LADDER[0]
    assert [
        "normal",
        "stitched",
        "longer_hop",
        "coalesced",
        "finals_only",
        "refuse",
    ] == [rung.level for rung in LADDER]
    for above, below in pairwise(LADDER):
        assert above.full_passes >= below.full_passes
        assert above.hops <= below.hops
        assert above.partial_every_s <= below.partial_every_s
        assert above.admits >= below.admits
        assert above.enter_used <= below.enter_used or above is NORMAL
    assert [rung.admits for rung in LADDER] == [True] * 5 + [False]
    assert inf == LADDER[4].partial_every_s


def test_every_rung_is_left_well_below_where_it_is_entered():
    for rung in LADDER[1:]:
        assert rung.leave_used < rung.enter_used - 0.1
        assert rung.leave_needed < min(rung.enter_needed, 0.9) - 0.1


def test_without_full_passes_the_windows_get_a_budget_to_show_what_it_saves():
    late = replace(LATE, budget_s=1.0)

    numbers = drive(Ladder(), [late] * 15)

    assert [2, 8, 11, 14] == [numbers.index(rung) for rung in (1, 2, 3, 4)]


def test_nothing_happens_to_a_calm_engine():
    assert [0] * 400 == drive(Ladder(), [CALM] * 400)


def test_down_is_one_rung_each_half_second():
    assert [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4] == drive(Ladder(), [LATE] * 12)
    assert 5 == drive(Ladder(), [LATE] * 80)[-1]


def test_up_is_one_rung_each_five_seconds():
    ladder = Ladder()
    drive(ladder, [LATE] * 20)

    numbers = drive(ladder, [CALM] * 200, start=100.0)

    assert 0 == numbers[-1]
    for n in range(5):
        assert 5 - n == numbers[21 * n + 19]
        assert 4 - n == numbers[21 * n + 20]


def test_a_moment_of_strain_is_no_reason():
    strains = ([LATE] * 2 + [CALM]) * 50

    assert [0] * 150 == drive(Ladder(), strains)


def test_a_moment_of_strain_starts_the_calm_anew():
    ladder = Ladder()
    drive(ladder, [LATE] * 3)

    assert [1] * 60 == drive(ladder, ([CALM] * 19 + [LATE]) * 3, start=100.0)


def test_a_late_window_on_an_idle_machine_is_no_load():
    """A budget as short as a pass is always nearly used up."""
    assert [0] * 40 == drive(Ladder(), [Strain(used=2.0, busy=0.5, needed=0.5)] * 40)


def test_new_streams_are_refused_before_the_last_room_is_gone():
    ladder = Ladder()
    drive(ladder, [LATE] * 12)
    assert "finals_only" == ladder.rung.level

    drive(ladder, [Strain(used=0.4, busy=1.0, needed=0.92)] * 3, start=100.0)

    assert "refuse" == ladder.rung.level


def test_between_entering_and_leaving_nothing_changes():
    for number in range(1, len(LADDER)):
        ladder = Ladder()
        while ladder.number < number:
            drive(ladder, [LATE] * 3, start=10.0 * ladder.number)
        between = Strain(used=0.6, busy=0.9, needed=0.75)
        assert [number] * 400 == drive(ladder, [between] * 400, start=100.0)


def test_a_rung_that_was_left_too_early_is_kept_longer_each_time():
    """Just over what normal can do, just calm on the rung below: for an hour."""
    ladder, numbers = Ladder(), []
    for n in range(4 * 3_600):
        normal = ladder.number == 0
        ladder.step(
            Strain(0.75, 1.0, 0.95) if normal else Strain(0.4, 0.6, 0.55), n * TICK_S
        )
        numbers.append(ladder.number)

    assert changes(numbers) < 40
    assert changes(numbers[-4 * 1_200 :]) <= 10
    assert numbers.count(1) > 0.97 * len(numbers)


def test_when_the_load_is_gone_early_mistakes_do_not_count():
    ladder = Ladder()
    for n in range(4 * 3_600):
        normal = ladder.number == 0
        ladder.step(
            Strain(0.75, 1.0, 0.95) if normal else Strain(0.4, 0.6, 0.55), n * TICK_S
        )
    if ladder.number == 0:
        drive(ladder, [LATE] * 3, start=4_000.0)

    assert 0 == drive(ladder, [CALM] * 21, start=5_000.0)[-1]


def test_a_refused_client_is_told_when_the_rung_may_be_left():
    ladder = Ladder()
    drive(ladder, [LATE] * 20)
    assert 5.0 == ladder.retry_after_s(10.0)

    ladder.step(CALM, 20.0)

    assert pytest.approx(3.0) == ladder.retry_after_s(22.0)
    assert 1.0 == ladder.retry_after_s(24.9)


strains = st.builds(Strain, *[st.floats(0, 3)] * 3)


@given(st.lists(strains, max_size=200))
def test_it_goes_one_rung_at_a_time_and_back_to_normal(history):
    ladder = Ladder()

    numbers = drive(ladder, history)

    assert all(abs(a - b) <= 1 for a, b in pairwise([0, *numbers]))
    after = drive(ladder, [CALM] * 250, start=1_000.0)
    assert 0 == after[-1]
    assert after == sorted(after, reverse=True)


@given(st.lists(strains, max_size=300))
def test_a_rung_holds_for_the_time_it_takes_to_see_what_it_does(history):
    ladder, patience = Ladder(), Patience()
    since = None
    for n, strain in enumerate(history):
        before, now = ladder.number, n * TICK_S
        ladder.step(strain, now)
        if ladder.number != before:
            least = patience.enter_s if ladder.number > before else patience.leave_s
            if since is not None:
                assert now - since >= least - 1e-9
            since = now


def test_a_table_of_one_rung_never_changes_and_an_empty_one_is_refused():
    assert [0] * 40 == drive(Ladder((Rung("normal"),)), [LATE] * 40)
    with pytest.raises(ValueError, match="at least one rung"):
        Ladder(())


def test_the_readme_shows_the_table_as_it_is():
    text = (ROOT / "streaming" / "README.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(tuple(f"| `{rung.level}`" for rung in LADDER))
    ]

    assert [f"`{rung.level}`" for rung in LADDER] == [row[0] for row in rows]
    for rung, (_, full, keeps, partials, streams, entered, left) in zip(
        LADDER, rows, strict=True
    ):
        assert rung.full_passes == ("slack" in full)
        assert f"{rung.hops} hop" == keeps.removesuffix("s")
        assert ("none" == partials) == (rung.partial_every_s == inf)
        assert (f"{rung.partial_every_s:g} s" in partials) == (
            0 < rung.partial_every_s < inf
        )
        assert rung.admits == ("let in" == streams)
        if rung is NORMAL:
            continue
        needed = "" if rung.enter_needed == inf else f" or needed {rung.enter_needed}"
        assert f"used {rung.enter_used}{needed}" == entered
        assert f"used {rung.leave_used}, needed {rung.leave_needed}" == left
