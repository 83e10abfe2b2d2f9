"""Whatever dies when, every job is answered once, from the same past."""

from __future__ import annotations

from collections import defaultdict, deque

from hypothesis import given
from hypothesis import strategies as st

from streaming.cluster.journal import Journal
from streaming.events import Cancel, Pass
from tests.historian import digest, full_pass, tag_of, window


class ToyEngine:
    """Answers in order; a window's answer tells all of its utterance's past."""

    def __init__(self, journal):
        self.journal = journal
        self.queue = deque()
        self.tags = defaultdict(list)
        self.alive = True

    def ask(self, errands):
        if self.alive:
            self.queue += errands

    def run(self, count=1):
        for _ in range(min(count, len(self.queue))):
            job = (errand := self.queue.popleft()).job
            said = -tag_of(job)
            if job.kind is Pass.STITCHED:
                past = self.tags[job.stream, job.utterance]
                past.append(tag_of(job))
                said = digest(past)
            answered = self.journal.answered(errand.number, well=True)
            if answered is not None and answered.deliver is not None:
                answered.deliver(said)

    def die(self):
        self.queue.clear()
        self.tags.clear()
        self.alive = False

    def live(self):
        self.alive = True
        for stream in self.journal:
            self.ask(self.journal.again(stream))


moves = st.one_of(
    st.tuples(st.sampled_from(["window", "last"]), st.integers(0, 2)),
    st.tuples(st.sampled_from(["full", "cancel", "end"]), st.integers(0, 2)),
    st.tuples(st.just("run"), st.integers(1, 4)),
    st.tuples(st.just("die"), st.just(0)),
    st.tuples(st.just("live"), st.just(0)),
)


@given(st.lists(moves, max_size=60))
def test_every_job_is_answered_once_from_the_past_that_it_has(script):
    journal = Journal(stateful=True)
    engine = ToyEngine(journal)
    serials, pieces = defaultdict(int), defaultdict(list)
    expected, got, gone = {}, defaultdict(list), set()
    deaths = 0
    for tag, (move, number) in enumerate(script, 1):
        key = number, serials[number]
        match move:
            case "window" | "last":
                pieces[key].append(tag)
                job = window(tag, stream=number, utterance=key[1], last=move == "last")
                serials[number] += move == "last"
                expected[tag] = digest(pieces[key])
                engine.ask([journal.ask(job, got[tag].append)])
            case "full":
                job = full_pass(tag, stream=number, utterance=key[1])
                expected[tag] = -tag
                engine.ask([journal.ask(job, got[tag].append)])
            case "cancel" | "end":
                cancel = Cancel(number, None if move == "end" else key[1])
                gone |= {tag_of(job) for job in journal.cancel(cancel)}
                serials[number] += 1
            case "run":
                engine.run(number)
            case "die":
                if engine.alive and deaths < 2:
                    deaths += 1
                    engine.die()
                    for stream in journal:
                        assert () == journal.lost(stream)
            case "live":
                if not engine.alive:
                    engine.live()
    if not engine.alive:
        engine.live()
    engine.run(len(engine.queue))

    assert 0 == len(journal)
    for tag, said in expected.items():
        assert ([] if tag in gone else [said]) == got[tag]


def asked(journal, *jobs):
    answers = []
    return [journal.ask(job, answers.append) for job in jobs], answers


def test_windows_that_overlap_leave_nothing_to_run_again():
    journal = Journal(stateful=False)
    (first, second), _ = asked(journal, window(1), window(2, start=640))
    journal.answered(first.number, well=True)

    journal.lost(0)

    assert [2] == [tag_of(errand.job) for errand in journal.again(0)]
    assert second.deliver is not None


def test_a_state_is_run_again_from_its_beginning_and_its_answers_are_nobodys():
    journal = Journal(stateful=True)
    (first, second, third), _ = asked(
        journal, window(1), window(2, start=640), window(3, start=1_280)
    )
    journal.answered(first.number, well=True)
    journal.answered(second.number, well=True)

    journal.lost(0)
    again = journal.again(0)

    assert [1, 2, 3] == [tag_of(errand.job) for errand in again]
    assert [True, True, False] == [errand.deliver is None for errand in again]
    assert third is again[-1]
    assert journal.answered(0, well=True) is None


def test_what_has_ended_is_not_run_again():
    journal = Journal(stateful=True)
    (first, last, other), _ = asked(
        journal, window(1), window(2, start=640, last=True), window(3, utterance=1)
    )
    for errand in (first, last):
        journal.answered(errand.number, well=True)
    journal.answered(other.number, well=False)

    assert () == journal.again(0)


def test_a_job_takes_no_more_than_three_engines_along():
    journal = Journal(stateful=True)
    (first, deadly), _ = asked(journal, window(1), window(2, start=640))
    journal.answered(first.number, well=True)
    for _ in range(2):
        assert () == journal.lost(0)
        assert 2 == len(journal.again(0))

    assert (deadly,) == journal.lost(0)
    assert [1] == [tag_of(errand.job) for errand in journal.again(0)]


def test_a_cancel_of_full_passes_leaves_the_windows_their_past():
    journal = Journal(stateful=True)
    (first, _), _ = asked(journal, window(1), full_pass(2))
    journal.answered(first.number, well=True)

    assert [2] == [tag_of(job) for job in journal.cancel(Cancel(0, 0, Pass.FULL))]
    assert [1] == [tag_of(errand.job) for errand in journal.again(0)]


def test_a_stream_that_ended_is_forgotten():
    journal = Journal(stateful=True)
    asked(journal, window(1), window(2, start=640))

    assert [1, 2] == [tag_of(job) for job in journal.cancel(Cancel(0, None))]
    assert [] == list(journal)
    assert () == journal.cancel(Cancel(0, None))
