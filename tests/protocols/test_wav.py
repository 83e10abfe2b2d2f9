"""Headers of WAVs, however they are cut."""

from __future__ import annotations

import io
import struct
import wave
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streaming.config import AudioFormat, Encoding
from streaming.errors import UnsupportedAudio
from streaming.protocols.wav import WavReader, may_be_wav

SAMPLES = bytes(range(200))


def written(rate=16_000, channels=1, width=2, samples=SAMPLES):
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setframerate(rate)
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.writeframes(samples)
    return held.getvalue()


def chunk(name, body):
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def of_format(tag, bits, rate=8_000, channels=1, more=b""):
    fmt = struct.pack("<HHIIHH", tag, channels, rate, 0, 0, bits) + more
    body = b"WAVE" + chunk(b"fmt ", fmt) + chunk(b"data", SAMPLES)
    return chunk(b"RIFF", body)


def read(pieces):
    reader = WavReader()
    samples = b"".join(reader.push(piece) for piece in pieces)
    return reader.audio, samples


@given(st.lists(st.integers(0, 260), max_size=8))
def test_the_header_is_read_however_the_file_is_cut(cuts):
    data = written(22_050, 2)
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(borders)]

    assert (AudioFormat(sample_rate=22_050, channels=2), SAMPLES) == read(pieces)


@pytest.mark.parametrize(
    ("tag", "bits", "more", "encoding"),
    [
        (1, 16, b"", Encoding.PCM_S16LE),
        (1, 24, b"", Encoding.PCM_S24LE),
        (3, 32, b"\0\0", Encoding.PCM_F32LE),
        (6, 8, b"", Encoding.ALAW),
        (7, 8, b"", Encoding.MULAW),
        (0xFFFE, 16, bytes(8) + b"\x01\0" + bytes(14), Encoding.PCM_S16LE),
    ],
)
def test_formats_that_are_known(tag, bits, more, encoding):
    data = of_format(tag, bits, more=more)
    assert (AudioFormat(encoding, 8_000), SAMPLES) == read([data])


def test_what_follows_the_samples_is_left_out():
    data = written() + chunk(b"LIST", b"a name")
    assert SAMPLES == read([data[:100], data[100:]])[1]


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF])
def test_a_writer_that_does_not_know_the_length_is_read_to_the_end(length):
    data = written()
    at = data.index(b"data") + 4
    data = data[:at] + struct.pack("<I", length) + data[at + 4 :] + SAMPLES
    assert 2 * SAMPLES == read([data])[1]


def test_notes_before_the_samples_are_skipped():
    data = written()
    at = data.index(b"data")
    assert SAMPLES == read([data[:at] + chunk(b"LIST", b"odd") + data[at:]])[1]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"RIFF\0\0\0\0AVI LIST", "got a RIFF of b'AVI '"),
        (of_format(1, 8), "format 1 with 8 bits"),
        (of_format(85, 0), "format 85"),
        (of_format(1, 16, rate=96_000), "sample_rate must be 8000 to 48000"),
        (of_format(1, 16, channels=6), "channels must be 1 to 2"),
        (chunk(b"RIFF", b"WAVE" + chunk(b"data", b"")), "says no format"),
        (chunk(b"RIFF", b"WAVE" + chunk(b"fmt ", b"ab")), "format has 2 bytes"),
        (b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\x7f", "no samples within 65536"),
    ],
)
def test_what_is_not_taken_is_named(data, why):
    with pytest.raises(UnsupportedAudio, match=why):
        WavReader().push(data)


@pytest.mark.parametrize(
    ("head", "may"),
    [(b"", True), (b"RI", True), (b"RIFFx", True), (b"RIFX", False), (b"\0R", False)],
)
def test_the_first_bytes_say_what_may_be_a_wav(head, may):
    assert may == may_be_wav(head)


@given(st.lists(st.binary()))
@example([b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", bytes(16))])
def test_arbitrary_bytes_give_only_typed_errors(pieces):
    with suppress(UnsupportedAudio):
        read([b"RIFF\0\0\0\0WAVE", *pieces])
