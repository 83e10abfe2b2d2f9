"""What is wrong with the audio is named; real speech is left in peace."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.config import AudioFormat, Encoding
from streaming.core.inspection import Inspector
from streaming.errors import UnsupportedAudio
from streaming.events import Notice
from streaming.numeric.pcm import PcmDecoder, decode

S16, S24 = Encoding.PCM_S16LE, Encoding.PCM_S24LE
F32, MULAW, ALAW = Encoding.PCM_F32LE, Encoding.MULAW, Encoding.ALAW


def integers(bits: int, kind: str = "<i4"):
    top = 2 ** (bits - 1)

    def encode(x):
        return np.clip(np.round(x.astype(float) * top), -top, top - 1).astype(kind)

    return encode


def s24(x, order=slice(None)):
    words = integers(24)(x).view(np.uint8).reshape(-1, 4)[:, :3]
    return np.ascontiguousarray(words[:, order]).tobytes()


def companded(encoding):
    table = decode(encoding, bytes(range(256)))
    order = np.argsort(table, kind="stable")
    edges = (table[order][1:] + table[order][:-1]) / 2
    return lambda x: order[np.searchsorted(edges, x)].astype(np.uint8).tobytes()


ENCODE = {
    S16: lambda x: integers(16, "<i2")(x).tobytes(),
    S24: s24,
    F32: lambda x: x.astype("<f4").tobytes(),
    MULAW: companded(MULAW),
    ALAW: companded(ALAW),
    "s16be": lambda x: integers(16, ">i2")(x).tobytes(),
    "s24be": lambda x: s24(x, slice(None, None, -1)),
    "s32": lambda x: integers(32, "<i4")(x * 0.999).tobytes(),
    "f32be": lambda x: x.astype(">f4").tobytes(),
    "f64": lambda x: x.astype("<f8").tobytes(),
    "f32 in integer scale": lambda x: (x * 32_768).astype("<f4").tobytes(),
    "base64": lambda x: base64.b64encode(integers(16, "<i2")(x).tobytes()),
}


def voice(rate: int = 16_000, seconds: float = 2.5, gain: float = 0.15) -> np.ndarray:
    """Something with speech's spectrum and pauses, of no one's voice."""
    rng = np.random.default_rng(11)
    t = np.arange(int(rate * seconds)) / rate
    pitch = 2 * np.pi * np.cumsum(110 + 25 * np.sin(2 * np.pi * 0.7 * t)) / rate
    tones = sum(
        np.sin(k * pitch) / (1 + ((k * 110 - 600) / 500) ** 2) for k in range(1, 25)
    )
    loudness = np.clip(np.sin(2 * np.pi * 2.3 * t), 0.02, 1)
    hiss = rng.standard_normal(len(t)) * 0.002
    return (gain * loudness * tones + hiss).astype(np.float32)


def inspect(audio, data, sizes=None):
    """Notices of a stream sent in messages of these sizes."""
    decoder, inspector = PcmDecoder(audio), Inspector(audio)
    notices: list[Notice] = []
    edges = np.minimum(np.cumsum([0, *(sizes or [])]), len(data)).tolist()
    for a, b in zip(edges, [*edges[1:], len(data)], strict=True):
        notices += inspector.look(data[a:b], decoder.push(data[a:b]))
    return notices


def codes(audio, data, sizes=None):
    return [notice.code for notice in inspect(audio, data, sizes)]


# --- headers ---------------------------------------------------------------

HEADERS = [
    (b"RIFF\x24\x08\x00\x00WAVEfmt ", "WAV"),
    (b"OggS\x00\x02", "Ogg"),
    (b"\x1aE\xdf\xa3\x9fB\x86", "WebM"),
    (b"fLaC\x00\x00\x00\x22", "FLAC"),
    (b"ID3\x04\x00\x00", "MP3"),
    (b"\x00\x00\x00\x20ftypM4A ", "MP4"),
    (b"FORM\x00\x00\x10\x00AIFF", "AIFF"),
    (b"WEBVTT\n\n00:00", "WebVTT"),
    (b'{"type":"start","rate":16000}', "JSON"),
    (base64.b64encode(b"RIFF\x24\x08\x00\x00WAVE"), "base64"),
]


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(("header", "name"), HEADERS)
def test_a_header_is_named_at_once(header, name, encoding):
    with pytest.raises(UnsupportedAudio, match=name) as caught:
        inspect(AudioFormat(encoding), header)
    assert encoding.value in str(caught.value)
    with pytest.raises(UnsupportedAudio, match=name):
        inspect(AudioFormat(encoding), header, [1] * len(header))


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (b"\xff\xfb\x90\x64" + bytes(413), "MP3"),
        (b"\xff\xf1\x50\x80\x20\x1f\xfc" + bytes(249), "AAC"),
    ],
)
def test_frames_that_follow_each_other_are_named(frame, name):
    with pytest.raises(UnsupportedAudio, match=name):
        inspect(AudioFormat(), frame * 5)
    # One look-alike alone is no evidence.
    assert [] == codes(AudioFormat(), frame[:256] + ENCODE[S16](voice()))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_real_files_are_named(kind, tmp_path):
    path = tmp_path / "voice"
    soundfile.write(path, voice(), 16_000, format=kind)
    with pytest.raises(UnsupportedAudio, match="begins with"):
        inspect(AudioFormat(), path.read_bytes())


# --- the wrong encoding ----------------------------------------------------

MISTAKES = [
    (S16, F32, "32-bit floats"),
    (S16, "f64", "64-bit floats"),
    (S16, "f32be", "32-bit floats, most"),
    (S16, S24, "24-bit samples"),
    (S16, "s32", "32-bit integers"),
    (S16, MULAW, "one-byte codes"),
    (S16, ALAW, "one-byte codes"),
    (S16, "base64", "text"),
    (S24, S16, "16-bit samples"),
    (S24, F32, "32-bit floats"),
    (F32, S16, "16-bit integers"),
    (F32, "f64", "64-bit floats"),
    (F32, MULAW, "one-byte codes"),
    (F32, "f32 in integer scale", "scale of integers"),
    (MULAW, S16, "16-bit samples"),
    (MULAW, F32, "32-bit floats"),
    (ALAW, S16, "16-bit samples"),
    (ALAW, F32, "32-bit floats"),
]


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize(("announced", "sent", "named"), MISTAKES)
def test_a_wrong_encoding_is_an_error(announced, sent, named, rate):
    audio = AudioFormat(announced, rate)
    with pytest.raises(UnsupportedAudio, match=named) as caught:
        inspect(audio, ENCODE[sent](voice(rate)))
    assert announced.value in str(caught.value)


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize(
    ("announced", "sent"), [(S16, "s16be"), (S24, "s24be"), (F32, "f32be")]
)
def test_a_wrong_byte_order_only_warns(announced, sent, rate):
    assert "byte_order" in codes(
        AudioFormat(announced, rate), ENCODE[sent](voice(rate))
    )


@pytest.mark.parametrize(("announced", "sent"), [(MULAW, ALAW), (ALAW, MULAW)])
def test_the_other_law_warns(announced, sent):
    audio = AudioFormat(announced, 8_000)
    (notice,) = inspect(audio, ENCODE[sent](voice(8_000)))
    assert "companding" == notice.code
    assert sent.value in notice.message


def test_floats_are_told_before_any_text_could_come():
    audio = AudioFormat(S16)
    with pytest.raises(UnsupportedAudio, match="floats"):
        inspect(audio, ENCODE[F32](voice())[: 16_000 * 2 * 3 // 10])


def test_silence_before_wrong_audio_does_not_hide_it():
    data = bytes(16_000 * 4 * 4) + ENCODE[F32](voice())
    with pytest.raises(UnsupportedAudio, match="floats"):
        inspect(AudioFormat(S16), data)


def test_compressed_audio_without_a_header_warns():
    data = np.random.default_rng(0).integers(0, 256, 64_000, np.uint8).tobytes()
    assert ["random_bytes"] == codes(AudioFormat(), data)


# --- levels ----------------------------------------------------------------


@pytest.mark.parametrize("encoding", Encoding)
def test_zeros_warn_once(encoding):
    silence = ENCODE[encoding](np.zeros(16_000 * 5, np.float32))
    short = silence[: len(silence) - 2 * encoding.width]
    assert [] == codes(AudioFormat(encoding), short)
    assert ["zeros"] == codes(AudioFormat(encoding), silence * 3)


def test_zeros_of_one_channel_are_named():
    stereo = np.zeros((16_000 * 6, 2), np.float32)
    stereo[:, 0] = np.resize(voice(), len(stereo))
    (notice,) = inspect(AudioFormat(S16, 16_000, 2), ENCODE[S16](stereo.reshape(-1)))
    assert "zeros" == notice.code
    assert "channel 2" in notice.message


@pytest.mark.parametrize("encoding", Encoding)
def test_clipping_warns_and_loudness_does_not(encoding):
    loud = voice()
    loud *= 0.95 / np.abs(loud).max()
    assert [] == codes(AudioFormat(encoding), ENCODE[encoding](loud))
    clipped = loud * 3 if encoding is F32 else np.clip(loud * 3, -1, 1)
    assert ["clipping"] == codes(AudioFormat(encoding), ENCODE[encoding](clipped))


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.015, "1.5% of the samples of 0.7 s"), (0.125, "12.5% of the samples of 0.1 s")],
)
def test_a_clipping_warning_tells_the_share_measured(share, told):
    values = np.resize(voice(), 16_000)
    values *= 0.5 / np.abs(values).max()
    ends = np.arange(1_600) < 1_600 * share + 1  # pairs of neighbours are counted
    values[4_800:] = np.where(np.tile(ends, 7), 1.0, values[4_800:])
    (notice,) = inspect(AudioFormat(F32), ENCODE[F32](values))
    assert notice.message.startswith(told)


def test_single_bad_floats_warn():
    values = voice()
    values[20_000] = np.nan
    values[30_000] = np.inf
    assert ["not_finite"] == codes(AudioFormat(F32), ENCODE[F32](values))


# --- chunking --------------------------------------------------------------


def outcome(audio, data, sizes):
    try:
        return inspect(audio, data, sizes)
    except UnsupportedAudio as error:
        return str(error)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(Encoding),
    st.sampled_from(list(ENCODE)),
    st.sampled_from([1, 2]),
    st.lists(st.integers(0, 30_000), max_size=20),
)
def test_chunking_never_matters(announced, sent, channels, sizes):
    audio = AudioFormat(announced, 8_000, channels)
    data = ENCODE[sent](voice(8_000, seconds=1.5))
    assert outcome(audio, data, []) == outcome(audio, data, sizes)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(Encoding), st.binary(max_size=20_000))
def test_any_bytes_are_survived(announced, data):
    whole = outcome(AudioFormat(announced, 8_000), data, [])
    assert whole == outcome(AudioFormat(announced, 8_000), data, [7] * 1_000)


# --- no false alarms -------------------------------------------------------


def synthetic(rate):
    rng, t = np.random.default_rng(7), np.arange(2 * rate) / rate
    white = rng.standard_normal(len(t))
    yield "very quiet", white * 1e-4
    yield "quiet noise", white * 0.003
    yield "loud noise", np.clip(white * 0.15, -0.9, 0.9)
    yield "one bit", rng.integers(-1, 2, len(t)) / 32_768
    yield "offset", 0.3 + white * 1e-4
    yield "small offset", 0.01 + white * 1e-3
    yield "square", 0.5 * np.sign(np.sin(2 * np.pi * 200 * t + 0.1))
    yield "noisy square", 0.5 * np.sign(np.sin(1256 * t + 0.1)) + white * 0.01
    yield "eight bits", np.round(np.clip(white * 0.2, -1, 1) * 128) / 128
    yield "ring", 0.3 * (np.sin(2 * np.pi * 440 * t) + np.sin(2 * np.pi * 480 * t))
    notes = (261.6, 329.6, 392.0, 523.3, 3123.3)
    yield "music", 0.15 * sum(np.sin(2 * np.pi * f * t) for f in notes)
    for hertz in (50, 1_000, 3_000, 3_900):
        yield f"tone {hertz}", 0.9 * np.sin(2 * np.pi * hertz * t)
        yield f"soft tone {hertz}", 0.001 * np.sin(2 * np.pi * hertz * t)
    clicks = white * 3e-5
    clicks[:: rate // 10] = 0.9
    yield "clicks", clicks
    keys = np.sin(2 * np.pi * 941 * t) + np.sin(2 * np.pi * 1_477 * t)
    yield "telephone keys", 0.4 * keys * ((t * 5) % 1 < 0.5)


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize("encoding", Encoding)
def test_sounds_that_are_no_speech_give_no_alarm(encoding, rate):
    for name, signal in synthetic(rate):
        data = ENCODE[encoding](signal.astype(np.float32))
        assert (name, []) == (name, outcome(AudioFormat(encoding, rate), data, []))


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_real_speech_gives_no_alarm(rate, speech_folder):
    paths = sorted((speech_folder / "test").glob("*/*.flac"))[::14]
    paths += sorted((speech_folder / "noise").glob("*.flac"))[::4]
    alarms = []
    for path in paths:
        recording, sample_rate = soundfile.read(path, dtype="float32", frames=48_000)
        if sample_rate != rate:
            recording = soxr.resample(recording, sample_rate, rate)
        for encoding in Encoding:
            found = outcome(
                AudioFormat(encoding, rate), ENCODE[encoding](recording), []
            )
            if found:
                alarms.append((path.name, encoding, found))
    assert len(paths) >= 30
    assert [] == alarms


def test_json_of_a_client_is_named_whole():
    message = json.dumps({"config": {"sample_rate": 16_000}}).encode()
    with pytest.raises(UnsupportedAudio, match="JSON"):
        inspect(AudioFormat(), message)
