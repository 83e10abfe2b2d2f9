"""One channel put in order: what the session's tests do not reach."""

from __future__ import annotations

import random

from streaming.config import Finals
from streaming.errors import ModelError
from streaming.events import Audio, Cancel, Flush, Job, Logits, Partial, Pass
from tests.core.rig import Rig, rows_of, sound, with_finals

AUTO = with_finals(Finals.AUTO)


class Later(random.Random):
    """The engine answers nothing before all audio came."""

    def random(self):
        return 0.5


class Watched(Rig):
    """A rig that keeps every effect."""

    def __post_init__(self):
        super().__post_init__()
        self.seen = []
        self.heard = []  # samples that had come at each

    def take(self, effects):
        self.seen += effects
        self.heard += [self.session.received] * len(effects)
        super().take(effects)

    @property
    def full_passes(self):
        return [e for e in self.seen if isinstance(e, Job) and e.kind is Pass.FULL]


def test_a_full_pass_that_was_outgrown_never_stands_for_the_whole_utterance():
    # The pause is within what a full pass may take, the whole utterance is not.
    script = [("a", 500), (" ", 300), ("b", 600), (" ", 900)]
    rig = Watched(AUTO, limit=16_000).play(sound(script), chunks=range(0, 36_000, 320))

    assert ["ab"] == rig.texts
    assert [Pass.STITCHED] == [f.made_by for f in rig.finals]
    assert [len(rig.full_passes[0].window.samples)] == [
        len(job.window.samples) for job in rig.full_passes
    ]


def test_speech_that_goes_on_cancels_the_pass_begun_in_the_pause():
    script = [("a", 500), (" ", 300), ("b", 600), (" ", 900)]
    rig = Watched(AUTO, dice=Later())
    rig.play(sound(script), chunks=range(0, 36_000, 320))

    dropped, _ = rig.full_passes
    cancel = Cancel(dropped.stream, dropped.utterance, Pass.FULL)
    # Begun 200 ms into the pause; the gate takes a frame to hear speech again.
    assert [11_200, 13_120] == [rig.heard[rig.seen.index(e)] for e in (dropped, cancel)]


def test_a_late_answer_to_a_pass_that_was_dropped_is_ignored():
    script = [("a", 500), (" ", 300), ("b", 600), (" ", 900)]
    rig = Watched(AUTO).play(sound(script), chunks=range(0, 36_000, 320))

    assert ["ab"] == rig.texts
    assert 2 == len(rig.full_passes)
    assert [Pass.FULL] == [f.made_by for f in rig.finals]


def test_the_last_window_is_shown_while_the_full_pass_is_awaited():
    rig = Watched(AUTO, dice=Later())
    rig.send(Audio(sound([("a", 500), ("b", 100)]).tobytes()))
    rig.send(Flush())
    for job in [j for j in rig.jobs if j.kind is Pass.STITCHED]:
        rig.jobs.remove(job)
        logits = Logits(job, rows_of(job.window.samples))
        rig.take(rig.session.decoded(logits, rig.now))

    assert [] == rig.finals
    assert "ab" == rig.of(Partial)[-1].text
    rig.answer_all()
    assert ["ab"] == rig.texts


def test_silence_that_was_judged_is_gated_though_windows_are_not_to_be_had():
    rig = Watched(dice=Later())
    rig.send(Audio(sound([("a", 500), (" ", 4_000)]).tobytes()))
    rig.take(rig.session.failed(rig.jobs[0], ModelError("no")))

    (totals,) = rig.session.totals
    assert totals.received == 72_000 == totals.gated + totals.dropped
    assert totals.dropped < 24_000  # the utterance, and what may be pre-roll
