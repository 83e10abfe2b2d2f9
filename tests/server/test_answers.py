"""A refusal does not overtake the answers before it."""

from __future__ import annotations

from streaming.errors import BadRequest
from streaming.events import Configured, Flushed, Refused
from streaming.server.answers import Answers

ONE, TWO = (Refused(BadRequest(name), fatal=False) for name in "12")


def test_with_nothing_owed_a_refusal_is_said_at_once():
    assert [ONE] == Answers().refuse(ONE)


def test_refusals_wait_for_what_was_asked_before_them():
    answers = Answers()
    answers.owe(Flushed)
    assert [] == answers.refuse(ONE)
    answers.owe(Configured)
    assert [] == answers.refuse(TWO)

    assert [ONE] == answers.give(Flushed)
    assert [TWO] == answers.give(Configured)
    assert 0 == len(answers)


def test_a_command_that_the_session_refuses_is_answered_at_its_place():
    answers = Answers()
    answers.owe(Flushed)
    answers.owe(Configured)

    assert [] == answers.refuse_owed(Configured, ONE)
    assert [ONE] == answers.give(Flushed)
