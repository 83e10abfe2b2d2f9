"""A WAV that comes in pieces: its header told, its samples let through.

Reads the chunks that say what the samples are; knows nothing of any dialect. Layout:
RIFF, "Multimedia Programming Interface and Data Specifications 1.0", IBM and
Microsoft 1991; the extensible format, mmreg.h.
"""

from __future__ import annotations

import struct

from streaming.config import AudioFormat, Encoding
from streaming.errors import ConfigError, UnsupportedAudio

__all__ = ["WavReader", "may_be_wav"]

_RIFF = b"RIFF"
_HEAD = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
_EXTENSIBLE = 0xFFFE

# Chunks of notes and pictures may come before the samples; a header is no longer.
_LONGEST_HEADER = 65_536

# Lengths that writers who do not know the length put down.
_UNKNOWN = (0, 0xFFFFFFFF)

# format tag, bits a sample -> encoding
_ENCODINGS = {
    (1, 16): Encoding.PCM_S16LE,
    (1, 24): Encoding.PCM_S24LE,
    (3, 32): Encoding.PCM_F32LE,
    (6, 8): Encoding.ALAW,
    (7, 8): Encoding.MULAW,
}


def may_be_wav(head: bytes) -> bool:
    """Whether a stream that begins so can be a WAV, as far as it came."""
    return head[:4] == _RIFF[: len(head)]


class WavReader:
    """Takes a WAV's bytes, gives those of its samples.

    Attributes:
        audio: what the samples are; None until the header has come.
    """

    def __init__(self) -> None:
        self.audio: AudioFormat | None = None
        self._head = b""
        self._left: float = 0  # bytes of samples still to come

    def push(self, data: bytes) -> bytes:
        """The samples that these bytes hold; what follows them is left out.

        Raises:
            UnsupportedAudio: the header is none, or of a format not taken here.
        """
        if self.audio is None:
            self._head += data
            data = self._read()
            if self.audio is None:
                return b""
        if len(data) > self._left:
            data = data[: int(self._left)]
        self._left -= len(data)
        return data

    def _read(self) -> bytes:
        """Read the header as far as it came; return what follows it."""
        head = self._head
        if len(head) >= _HEAD.size and _HEAD.unpack_from(head)[2] != b"WAVE":
            raise UnsupportedAudio(f"got a RIFF of {head[8:12]!a}, expected WAVE")
        at, audio = _HEAD.size, None
        while at + _CHUNK.size <= len(head):
            name, size = _CHUNK.unpack_from(head, at)
            at += _CHUNK.size
            if name == b"data":
                if audio is None:
                    raise UnsupportedAudio("the WAV header says no format")
                self.audio, self._head = audio, b""
                self._left = float("inf") if size in _UNKNOWN else size
                return head[at:]
            if name == b"fmt " and at + size <= len(head):
                audio = _audio(head[at : at + size])
            at += size + size % 2
        if max(at, len(head)) > _LONGEST_HEADER:
            raise UnsupportedAudio(
                f"no samples within {_LONGEST_HEADER} bytes of the WAV header"
            )
        return b""


def _audio(chunk: bytes) -> AudioFormat:
    if len(chunk) < _FORMAT.size:
        raise UnsupportedAudio(f"the WAV header's format has {len(chunk)} bytes")
    tag, channels, rate, _, _, bits = _FORMAT.unpack_from(chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        tag = int.from_bytes(chunk[24:26], "little")
    encoding = _ENCODINGS.get((tag, bits))
    if encoding is None:
        known = ", ".join(each.value for each in _ENCODINGS.values())
        raise UnsupportedAudio(
            f"the WAV header says format {tag} with {bits} bits, expected {known}"
        )
    try:
        return AudioFormat(encoding, rate, channels)
    except ConfigError as error:
        raise UnsupportedAudio(f"in the WAV header {error}") from None
