"""What strangers send as JSON is read or refused, by its size as well."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import ProtocolError, TooBig
from streaming.protocols.json_objects import (
    audio_of,
    object_at,
    object_of,
    text_at,
    whole_at,
)


@pytest.mark.parametrize(
    "message", ["", "[]", "1", "nul", '{"a":NaN}', "{", "[" * 9_999, '"' + "\ud800"]
)
def test_what_is_no_object_is_refused(message):
    with pytest.raises(ProtocolError, match="must be a JSON object, got"):
        object_of(message)


def test_long_messages_are_long_by_one_text_alone():
    audio = json.dumps({"audio": "A" * 200_000})
    values = json.dumps({"audio": [1] * 50_000})

    assert {"audio": "A" * 200_000} == object_of(audio, 10**6)
    with pytest.raises(TooBig, match="values at most"):
        object_of(values, 10**6)
    with pytest.raises(TooBig, match="may have 65536 characters, got 200013"):
        object_of(audio)


def test_fields_are_read_as_what_they_are():
    fields = {"a": {}, "b": "x", "c": "12", "d": -3}

    assert {} == object_at(fields, "a")
    assert "x" == text_at(fields, "b")
    assert [12, -3, None] == [whole_at(fields, name) for name in "cdz"]


@pytest.mark.parametrize("value", ["1.5", 1.5, True, "1_0", "9" * 16, [], "", "٣"])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ProtocolError, match="n must be a whole number, got"):
        whole_at({"n": value}, "n")


@pytest.mark.parametrize("value", ["a", "a===", "Zm9v!", "é", None, 1, "Zm9v\n"])
def test_what_is_no_base64_is_refused(value):
    with pytest.raises(ProtocolError, match="payload must be base64, got"):
        audio_of("payload", value)


@given(st.binary())
def test_base64_gives_its_bytes(data):
    assert data == audio_of("payload", base64.b64encode(data).decode())
