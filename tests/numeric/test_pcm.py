"""Every encoding decodes to the values its standard gives, at any chunking."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.config import AudioFormat, Encoding
from streaming.numeric.pcm import FULL_SCALE, PcmDecoder, decode

formats = st.builds(
    AudioFormat,
    encoding=st.sampled_from(Encoding),
    sample_rate=st.just(16_000),
    channels=st.sampled_from([1, 2]),
)


def cuts(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of these sizes, and the rest."""
    edges = np.minimum(np.cumsum([0, *sizes]), len(data)).tolist()
    return [data[a:b] for a, b in zip(edges, [*edges[1:], len(data)], strict=True)]


@pytest.mark.parametrize(
    ("encoding", "data", "expected"),
    [
        (Encoding.PCM_S16LE, b"\x00\x00\x00\x80\xff\x7f", [0, -1, 32767 / 32768]),
        (Encoding.PCM_S16LE, b"\x01\x00\x00\x01", [1 / 32768, 1 / 128]),
        (Encoding.PCM_S24LE, b"\x00\x00\x80\x01\x00\x00", [-1, 1 / 8388608]),
        (Encoding.PCM_S24LE, b"\xff\xff\xff\x00\x00\x40", [-1 / 8388608, 0.5]),
        (Encoding.PCM_F32LE, struct.pack("<3f", 0.25, -1, 3), [0.25, -1, 3]),
        # G.711 tables 1 and 2: the ends, the middle and a segment's border.
        (Encoding.MULAW, b"\xff\x7f\x80\x00", [0, 0, 8031 / 8192, -8031 / 8192]),
        (Encoding.MULAW, b"\xf0\xef\x70\x6f", np.array([30, 33, -30, -33]) / 8192),
        (Encoding.ALAW, b"\xd5\x55\xaa\x2a", np.array([1, -1, 4032, -4032]) / 4096),
        (Encoding.ALAW, b"\xc5\xf5\x45\x75", np.array([33, 66, -33, -66]) / 4096),
    ],
)
def test_known_values(encoding, data, expected):
    np.testing.assert_array_equal(
        np.array(expected, np.float32), decode(encoding, data)
    )


@pytest.mark.parametrize(
    ("encoding", "subtype"), [(Encoding.MULAW, "ULAW"), (Encoding.ALAW, "ALAW")]
)
def test_companding_tables_are_those_of_libsndfile(encoding, subtype):
    codes = bytes(range(256))
    theirs, _ = soundfile.read(
        io.BytesIO(codes),
        dtype="float32",
        samplerate=8_000,
        channels=1,
        format="RAW",
        subtype=subtype,
    )
    np.testing.assert_array_equal(theirs, decode(encoding, codes))


@pytest.mark.parametrize("encoding", Encoding)
def test_full_scale_is_the_largest_value(encoding):
    largest = {
        Encoding.PCM_S16LE: b"\xff\x7f",
        Encoding.PCM_S24LE: b"\xff\xff\x7f",
        Encoding.PCM_F32LE: struct.pack("<f", 1.0),
        Encoding.MULAW: b"\x80",
        Encoding.ALAW: b"\xaa",
    }
    assert FULL_SCALE[encoding] == decode(encoding, largest[encoding])[0]


@settings(deadline=None)
@given(formats, st.binary(max_size=400), st.lists(st.integers(0, 40), max_size=20))
def test_chunking_never_matters(audio, data, sizes):
    whole, pieces = PcmDecoder(audio), PcmDecoder(audio)
    expected = whole.push(data)
    got = np.concatenate([pieces.push(piece) for piece in cuts(data, sizes)])
    np.testing.assert_array_equal(expected, got)
    assert whole.odd_bytes == pieces.odd_bytes
    assert len(data) == (expected.size * audio.encoding.width + pieces.odd_bytes)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_float_bytes_always_give_clean_samples(data):
    samples = PcmDecoder(AudioFormat(Encoding.PCM_F32LE)).push(data)
    assert bool(np.isfinite(samples).all())
    assert bool((np.abs(samples) <= 1).all())


def test_what_is_no_number_is_silence_and_the_rest_is_clipped():
    data = struct.pack("<6f", float("nan"), float("inf"), -float("inf"), 2.5, -3, 0.5)
    samples = PcmDecoder(AudioFormat(Encoding.PCM_F32LE)).push(data)
    assert samples[:, 0].tolist() == [0, 0, 0, 1, -1, 0.5]


def test_channels_are_interleaved_and_odd_bytes_wait():
    decoder = PcmDecoder(AudioFormat(Encoding.PCM_S16LE, 16_000, 2))
    first = decoder.push(struct.pack("<3h", 1 << 14, -(1 << 14), 1 << 13) + b"\x00")
    assert first.tolist() == [[0.5, -0.5]]
    assert decoder.odd_bytes == 3
    assert decoder.push(b"\x10").tolist() == [[0.25, 0.125]]
    assert decoder.odd_bytes == 0
    assert decoder.push(b"").shape == (0, 2)
