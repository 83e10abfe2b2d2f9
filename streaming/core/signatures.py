"""First bytes that no microphone sends: headers of files, and text.

A table of marks, and one rule for frames that follow each other (MP3, AAC). Does
not know what the stream was announced as.
"""

from __future__ import annotations

__all__ = ["LONGEST_LOOK", "signature"]

# (offset, mark, what it is); a mark has at least four bytes, because a stream of
# samples may begin with any two.
_MARKS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"RIFF", "a WAV (RIFF) header"),
    (0, b"RIFX", "a WAV (RIFX) header"),
    (0, b"RF64", "a WAV (RF64) header"),
    (0, b"OggS", "an Ogg header"),
    (0, b"\x1aE\xdf\xa3", "a WebM or Matroska header"),
    (0, b"fLaC", "a FLAC header"),
    (0, b"ID3\x02", "an MP3 (ID3) header"),
    (0, b"ID3\x03", "an MP3 (ID3) header"),
    (0, b"ID3\x04", "an MP3 (ID3) header"),
    (4, b"ftyp", "an MP4 header"),
    (4, b"moof", "an MP4 fragment"),
    (0, b"FORM", "an AIFF header"),
    (0, b".snd", "an AU header"),
    (0, b"caff", "a CAF header"),
    (0, b"#!AMR", "an AMR header"),
    (0, b"#!SILK", "a SILK header"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "a WMA (ASF) header"),
    (0, b"wvpk", "a WavPack header"),
    (0, b"OpusHead", "an Opus header"),
    (0, b"UklGR", "a WAV file in base64"),
    (0, b"GkXfo", "a WebM file in base64"),
    (0, b"T2dnUw", "an Ogg file in base64"),
    (0, b"data:audio", "a data URL"),
    (0, b"WEBVTT", "WebVTT captions"),
    (0, b"<?xml", "XML text"),
    (0, b"HTTP/", "an HTTP answer"),
)

# Four frames of the longest kind (MPEG-1 layer 3, 320 kbit/s at 32 kHz).
LONGEST_LOOK = 4 * 1_441

# Quiet mu-law is a run of letters and braces, but has no quotation marks: those are
# codes near full scale.
_JSON_OPENINGS = (b'{"', b'{ "', b'[{"', b'["', b"{\n")
_TEXT = frozenset(b"\t\n\r" + bytes(range(0x20, 0x7F)))

_FRAMES = 4
_MP3_RATES = (44_100, 48_000, 32_000)
_MP3_KBITS = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)


def _mp3_length(h: bytes) -> int | None:
    """Bytes of the layer 3 frame that begins so (ISO 11172-3, 2.4.1.3)."""
    version, layer = h[1] >> 3 & 3, h[1] >> 1 & 3
    kbits, rate, padding = h[2] >> 4, h[2] >> 2 & 3, h[2] >> 1 & 1
    if h[0] != 0xFF or h[1] < 0xE0 or version == 1 or layer != 1:
        return None
    if kbits in (0, 15) or rate == 3:
        return None
    first = version == 3
    hertz = _MP3_RATES[rate] >> (0 if first else 1 if version == 2 else 2)
    factor = 144 if first else 72
    return factor * 1_000 * _MP3_KBITS[not first][kbits - 1] // hertz + padding


def _aac_length(h: bytes) -> int | None:
    """Bytes of the ADTS frame that begins so (ISO 13818-7, 6.2)."""
    length = (h[3] & 3) << 11 | h[4] << 3 | h[5] >> 5
    if h[0] != 0xFF or h[1] & 0xF6 != 0xF0 or h[2] >> 2 & 15 > 12 or length < 8:
        return None
    return length


def _chained(first: bytes) -> str | None:
    for length_of, found in ((_mp3_length, "MP3 frames"), (_aac_length, "AAC frames")):
        at = 0
        for number in range(_FRAMES):
            header = first[at : at + 6]
            length = length_of(header) if len(header) == 6 else None
            # What frames of one stream share: the sync word, version and layer.
            if length is None or header[:2] != first[:2]:
                break
            if number == _FRAMES - 1:
                return found
            at += length
    return None


def signature(first: bytes) -> str | None:
    """Name what a stream begins with, if that is no audio samples.

    The answer may become a name when more bytes are there, up to `LONGEST_LOOK`;
    a name never changes.

    Args:
        first: the stream's first bytes, as many as there are.
    """
    for offset, mark, found in _MARKS:
        if first[offset : offset + len(mark)] == mark:
            return found
    if first.startswith(_JSON_OPENINGS) and len(first) >= 12:
        opening = first[:12]
        return "JSON text" if b'"' in opening and _TEXT.issuperset(opening) else None
    return _chained(first)
