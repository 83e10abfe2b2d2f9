"""Flows of a capture are paired into calls."""

from __future__ import annotations

from streaming.protocols.datagram import Datagram
from streaming.protocols.rtp_survey import calls_of
from tests.protocols.calls import AGENT, CALLER, TAP, Sender

SPEECH = bytes(8_000)
OTHER = ("10.0.0.3", 7000)


def sources(calls):
    return [tuple(flow.source for flow in call) for call in calls]


def test_two_directions_are_a_call_and_the_first_to_speak_comes_first():
    there = Sender(source=CALLER, target=AGENT).talk(SPEECH, at=5.0)
    back = Sender(ssrc=8, source=AGENT, target=CALLER).talk(SPEECH, at=4.0)

    assert [(AGENT, CALLER)] == sources(calls_of([*there, *back]))


def test_copies_to_a_recorder_are_a_call_if_at_the_same_time():
    one = Sender(source=CALLER, target=TAP).talk(SPEECH)
    other = Sender(ssrc=8, source=AGENT, target=(TAP[0], 6002)).talk(SPEECH, at=100.1)
    later = Sender(ssrc=9, source=OTHER, target=TAP).talk(SPEECH, at=200.0)

    assert [(CALLER, AGENT), (OTHER,)] == sources(calls_of([*one, *other, *later]))


def test_what_only_looks_like_rtp_is_none():
    strays = Sender().talk(SPEECH)[:9]
    noise = [Datagram(1.0, CALLER, AGENT, bytes([0x80]) + bytes(30))] * 5
    rtcp = [Datagram(1.0, CALLER, AGENT, b"\x80\xc8" + bytes(30))] * 20

    assert [] == calls_of([*strays, *noise, *rtcp])
