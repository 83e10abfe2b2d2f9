"""How transcripts are written."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from streaming.cli.transcribe import Format, written
from streaming.events import Final, Pass, Word

WORDS = (Word("grüß", 0.5, 1.0, 0.9), Word("gott", 1.0, 1.5, 0.8))


@dataclass(frozen=True)
class Transcript:
    """What `streaming.tools.transcribe` yields."""

    audio: str = "a.wav"
    text: str = "grüß gott"
    words: tuple[Word, ...] = WORDS
    duration: float = 2.0
    missing: float = 0.0
    cut: bool = False
    utterances: tuple[Final, ...] = (
        Final(1, 0, "grüß gott", 0.5, 1.5, 0.9, Pass.FULL, WORDS),
    )


OBJECT = {
    "audio": "a.wav",
    "text": "grüß gott",
    "words": [
        {"word": "grüß", "start": 0.5, "end": 1.0, "confidence": 0.9, "channel": 1},
        {"word": "gott", "start": 1.0, "end": 1.5, "confidence": 0.8, "channel": 1},
    ],
    "utterances": [
        {
            "channel": 1,
            "start": 0.5,
            "end": 1.5,
            "text": "grüß gott",
            "confidence": 0.9,
        }
    ],
    "duration": 2.0,
    "missing": 0.0,
    "cut": False,
}


def text_of(layout, *transcripts):
    return "".join(written(iter(transcripts), layout, several=len(transcripts) > 1))


def test_the_text_of_one_file_is_only_its_text():
    assert "grüß gott\n" == text_of(Format.TEXT, Transcript())


def test_of_several_files_each_line_says_which():
    several = text_of(Format.TEXT, Transcript(), Transcript("b.wav", "ja"))

    assert "a.wav: grüß gott\nb.wav: ja\n" == several


def test_jsonl_is_an_object_a_line():
    lines = text_of(Format.JSONL, Transcript(), Transcript("b.wav")).splitlines()

    assert [OBJECT, OBJECT | {"audio": "b.wav"}] == [json.loads(x) for x in lines]
    assert "grüß" in lines[0]


def test_json_is_one_array():
    assert [OBJECT] == json.loads(text_of(Format.JSON, Transcript()))


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (Format.SRT, "1\n00:00:00,500 --> 00:00:01,500\ngrüß gott\n"),
        (Format.VTT, "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\ngrüß gott\n"),
    ],
)
def test_subtitles(layout, expected):
    assert expected == text_of(layout, Transcript())
