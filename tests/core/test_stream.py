"""One channel put in order: what the session's tests do not reach."""

from __future__ import annotations

from streaming.config import Finals
from streaming.events import Job, Pass
from tests.core.rig import Rig, sound, with_finals

AUTO = with_finals(Finals.AUTO)


class Watched(Rig):
    """A rig that keeps every effect."""

    def __post_init__(self):
        super().__post_init__()
        self.seen = []

    def take(self, effects):
        self.seen += effects
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
