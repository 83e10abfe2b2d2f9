"""Whether the first audio of a stream reads as something else than announced.

Each announced encoding has its rules, as thresholds on statistics; the numbers
in the comments are of 1,000 real recordings at 8 and 16 kHz, read rightly and
wrongly. Knows neither headers nor levels, and keeps no state.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np

from streaming.config import AudioFormat, Encoding
from streaming.errors import UnsupportedAudio
from streaming.events import Notice
from streaming.numeric.pcm import decode
from streaming.numeric.readings import (
    Lanes,
    floats_share,
    lanes_of,
    reads_as_floats,
    roughness,
)

__all__ = ["misreading"]

Finding = Notice | UnsupportedAudio

_FLOATS = (
    ("<f4", "32-bit floats"),
    ("<f8", "64-bit floats"),
    (">f4", "32-bit floats, most significant byte first"),
)
_TEXT = np.zeros(256, bool)
_TEXT[[9, 10, 13, *range(0x20, 0x7F)]] = True


def _wrong(audio: AudioFormat, found: str, remedy: str) -> UnsupportedAudio:
    return UnsupportedAudio(
        f"the audio was announced as {audio.encoding.value}, "
        f"but its bytes look like {found}: {remedy}"
    )


def _announce(audio: AudioFormat, encoding: Encoding, found: str) -> UnsupportedAudio:
    return _wrong(audio, found, f"announce {encoding.value}")


def _floats(audio: AudioFormat, head: bytes) -> UnsupportedAudio | None:
    for dtype, found in _FLOATS:
        if reads_as_floats(head, dtype):
            remedy = f"announce pcm_f32le and send that, or send {audio.encoding.value}"
            return _wrong(audio, found, remedy)
    return None


def _whole(head: bytes, width: int) -> bytes:
    return head[: len(head) // width * width]


def _rough(audio: AudioFormat, encoding: Encoding, head: bytes) -> float:
    values = decode(encoding, _whole(head, encoding.width))
    return roughness(values, audio.channels)


def _swapped(head: bytes, width: int) -> bytes:
    words = np.frombuffer(_whole(head, width), np.uint8).reshape(-1, width)
    return words[:, ::-1].tobytes()


def _byte_order(audio: AudioFormat) -> Notice:
    return Notice(
        "byte_order",
        f"the audio was announced as {audio.encoding.value}, but it looks as if the "
        "most significant byte of each sample came first: send the least significant "
        "byte first",
    )


def _likelier_law(audio: AudioFormat, head: bytes) -> Encoding:
    mulaw = _rough(audio, Encoding.MULAW, head)
    alaw = _rough(audio, Encoding.ALAW, head)
    return Encoding.MULAW if mulaw <= alaw else Encoding.ALAW


def _one_byte_codes(lanes: Lanes) -> bool:
    """Both bytes of the words are of one kind, and neither constant nor random.

    G.711 has them at most 0.21 apart in a second, PCM speech at least 0.3.
    """
    return (
        lanes.words >= 4_000
        and lanes.apart <= 0.22
        and abs(lanes.first - lanes.last) <= 0.25
        and min(lanes.first, lanes.last) >= 4.0
        and max(lanes.first, lanes.last) <= 7.7
    )


def _in_integers(audio: AudioFormat, head: bytes) -> Finding | None:
    encoding = audio.encoding
    rough = _rough(audio, encoding, head)
    # Floats read as integers are never smoother than 1.2.
    if rough >= 1.1 and (floats := _floats(audio, head)):
        return floats
    other = Encoding.PCM_S24LE if encoding is Encoding.PCM_S16LE else Encoding.PCM_S16LE
    # Words of the wrong width are rough at least 1.5; rightly read noise is as rough
    # in the other width too (ratio at least 1.0). Words cut at wrong places have bytes
    # of all kinds everywhere; that tells them from tones near half the rate.
    lanes = lanes_of(head, encoding.width)
    wrong_width = rough >= 1.2 and lanes.apart <= 0.35
    if wrong_width and _rough(audio, other, head) < 0.5 * rough:
        return _announce(audio, other, f"{8 * other.width}-bit samples")
    if encoding is Encoding.PCM_S16LE:
        if _one_byte_codes(lanes):
            law = _likelier_law(audio, head)
            if rough <= 1.15 and _rough(audio, law, head) <= 0.95 * rough:
                return _announce(audio, law, "one-byte codes (mu-law or A-law)")
        if rough >= 1.2 and _halves_of_32_bits(audio, head):
            remedy = "send the upper 16 bits of each sample"
            return _wrong(audio, "32-bit integers", remedy)
    # Speech in the right order has a first byte at least 0.16 bits more random.
    # (A first byte that is always 0 is 16-bit audio in 24 bits, and says nothing.)
    random_last = 0.5 <= lanes.first <= lanes.last - 0.5
    if lanes.words >= 4_000 and random_last and rough >= 0.6:
        turned = _swapped(head, encoding.width)
        if _rough(audio, encoding, turned) <= 0.65 * rough:
            return _byte_order(audio)
    return None


def _halves_of_32_bits(audio: AudioFormat, head: bytes) -> bool:
    """Every other 16-bit word is random, and those between are smooth."""
    words = decode(Encoding.PCM_S16LE, _whole(head, 4))
    low, high = words[0::2], words[1::2]
    uniform = (
        len(low) >= 1_000
        and 0.42 <= float(np.abs(low).mean()) <= 0.58
        and len(np.unique(low)) >= 100  # a pure tone has few
    )
    rough = roughness(low, audio.channels)
    return uniform and rough >= 1.2 and roughness(high, audio.channels) < 0.5 * rough


def _in_floats(audio: AudioFormat, head: bytes) -> Finding | None:
    values = np.nan_to_num(decode(Encoding.PCM_F32LE, _whole(head, 4)), posinf=0)
    values = np.clip(values, -(2.0**20), 2.0**20)
    # 64-bit floats alternate between two kinds of words: rough 2.0 without exception.
    if roughness(values) >= 1.8 and reads_as_floats(head, "<f8"):
        return _wrong(audio, "64-bit floats", "convert them to 32 bits")
    if floats_share(head, 2.0**-60, 2.0**20) < 0.5 and reads_as_floats(head, ">f4"):
        return _byte_order(audio)
    share = floats_share(head, 0.0, 2.0**20)
    if share < 0.9:
        found = f"{_shape_of_words(head)}: {1 - share:.0%} are no numbers of any scale"
        return _wrong(audio, found, "check the encoding")
    if floats_share(head, 4.0, 2.0**20) >= 0.2:
        remedy = "divide them by the largest integer, so that they lie in -1..1"
        return _wrong(audio, "floats in the scale of integers", remedy)
    return None


def _shape_of_words(head: bytes) -> str:
    lanes = lanes_of(head, 2)
    if lanes.apart >= 0.35 and lanes.first - lanes.last >= 0.5:
        return "16-bit integers"
    if lanes.apart <= 0.22:
        return "one-byte codes (mu-law or A-law)"
    return "something else"


def _in_codes(audio: AudioFormat, head: bytes) -> Finding | None:
    rough = _rough(audio, audio.encoding, head)
    if rough >= 0.8 and (floats := _floats(audio, head)):
        return floats
    lanes = lanes_of(head, 2)
    apart = lanes.first - lanes.last
    # G.711 has bytes of one kind: entropies at most 0.13 apart; pure tones, which may
    # have more, use few codes.
    if lanes.words >= 400 and lanes.apart >= 0.35 and abs(apart) >= 0.5:
        pcm = head if apart > 0 else _swapped(head, 2)
        varied = max(lanes.first, lanes.last) >= 5
        if varied and _rough(audio, Encoding.PCM_S16LE, pcm) <= 0.7 * rough:
            return _announce(audio, Encoding.PCM_S16LE, "16-bit samples")
    return _other_law(audio, head, rough)


def _other_law(audio: AudioFormat, head: bytes, rough: float) -> Notice | None:
    """Read in the other law it is both quieter and smoother.

    Over a second, the mean step of the magnitude scale (0 to 127) rightly read is
    at most 9 above that of the other law; wrongly read it is 25 above (median).
    """
    if len(head) < audio.sample_rate * audio.channels:
        return None
    codes = np.frombuffer(head, np.uint8)
    steps = {
        Encoding.MULAW: float((~codes & 127).mean()),
        Encoding.ALAW: float(((codes ^ 0x55) & 127).mean()),
    }
    other = Encoding.ALAW if audio.encoding is Encoding.MULAW else Encoding.MULAW
    if steps[audio.encoding] - steps[other] < 12:
        return None
    if rough < 1.15 * _rough(audio, other, head):
        return None
    return Notice(
        "companding",
        f"the audio was announced as {audio.encoding.value}, but it sounds like "
        f"{other.value}: announce {other.value}",
    )


def _compressed(audio: AudioFormat, head: bytes) -> Notice | None:
    lanes = lanes_of(head, max(2, audio.encoding.width))
    if lanes.words < 4_000 or lanes.apart > 0.15 or min(lanes.first, lanes.last) < 7.9:
        return None
    return Notice(
        "random_bytes",
        "the bytes look random: is this compressed or encrypted audio, or one that "
        "begins in the middle of a file? Send plain samples",
    )


def _is_text(head: bytes) -> bool:
    """Letters, digits and signs only, of many kinds, at even and odd places alike.

    Quiet samples on an offset may be all letters, but not in both bytes, or few.
    """
    codes = np.frombuffer(head, np.uint8)
    if len(codes) < 500 or not _TEXT[codes].all():
        return False
    lanes = lanes_of(head, 2)
    return min(lanes.first, lanes.last) >= 3.5


def misreading(audio: AudioFormat, head: bytes) -> Finding | None:
    """Judge a stream's first audio.

    Args:
        audio: what was announced.
        head: whole frames, from 0.1 s to a few seconds; stretches of one constant
            byte left out. More makes some rules ready to answer.

    Returns:
        An error that ends the stream, a warning, or nothing.
    """
    if _is_text(head):
        return _wrong(audio, "text", "decode base64 and send the bytes")
    if random := _compressed(audio, head):
        return random
    match audio.encoding:
        case Encoding.PCM_S16LE | Encoding.PCM_S24LE:
            return _in_integers(audio, head)
        case Encoding.PCM_F32LE:
            return _in_floats(audio, head)
        case Encoding.MULAW | Encoding.ALAW:
            return _in_codes(audio, head)
        case _:
            assert_never(audio.encoding)
