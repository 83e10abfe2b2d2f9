"""Is the audio what the stream said it would be? Errors and warnings, by name.

Looks at the first bytes for headers, at the first two seconds that are not
constant for a wrong encoding, and at all of it for silence and clipping, in
blocks of 0.1 s counted from the stream's start, so that the borders of messages
never change an answer. Changes and holds back no audio.
"""

from __future__ import annotations

from collections import deque
from itertools import dropwhile

import numpy as np
import numpy.typing as npt

from streaming.config import AudioFormat, Encoding
from streaming.core.misreading import misreading
from streaming.core.signatures import LONGEST_LOOK, signature
from streaming.errors import UnsupportedAudio
from streaming.events import Notice
from streaming.numeric.pcm import FULL_SCALE

__all__ = ["Inspector"]

# Blocks of audio, constant ones left out, after which the encoding is judged again.
_JUDGED_AT = (1, 2, 3, 5, 10, 20)
_ZEROS_BLOCKS = 50  # 5 s of one value
_CLIPPING_BLOCKS = 10
# Share of a second's samples. The outermost companded codes begin at 0.97, which
# loud speech that is not clipped reaches too.
_CLIPPING_SHARE = 0.01
_CLIPPING_SHARE_COMPANDED = 0.03


class Inspector:
    """Watches one stream; each warning comes once.

    Codes of its warnings: `byte_order`, `companding`, `random_bytes`, `zeros`,
    `clipping`, `not_finite`.
    """

    def __init__(self, format: AudioFormat) -> None:  # noqa: A002  the word for it
        self._audio = format
        frame = format.encoding.width * format.channels
        self._block_frames = format.sample_rate // 10
        self._block_bytes = self._block_frames * frame
        companded = format.encoding in (Encoding.MULAW, Encoding.ALAW)
        self._share = _CLIPPING_SHARE_COMPANDED if companded else _CLIPPING_SHARE
        self._first = b""
        self._header_sought = True
        self._odd: list[bytes] = []  # of a block that is not whole yet
        self._odd_samples: list[npt.NDArray[np.float32]] = []
        self._missing = self._block_frames  # frames that make it whole
        self._head: list[bytes] = []
        self._judged = False
        self._constant_blocks = np.zeros(format.channels, int)
        self._clipped: deque[int] = deque(maxlen=_CLIPPING_BLOCKS)
        self._said: set[str] = set()

    def look(self, data: bytes, samples: npt.NDArray[np.float32]) -> list[Notice]:
        """Look at the next message, before it goes any further.

        Args:
            data: its bytes; any number.
            samples: `(frames, channels)`, what a `PcmDecoder` made of them.

        Returns:
            Warnings that have not been given before.

        Raises:
            UnsupportedAudio: the stream is a file, text, or in another encoding;
                the message names what was found and what was announced.
        """
        if self._header_sought:
            self._seek_header(data)
        self._odd.append(data)
        self._odd_samples.append(samples)
        self._missing -= len(samples)
        return [] if self._missing > 0 else self._look_at_whole()

    def _look_at_whole(self) -> list[Notice]:
        """Look at the blocks that have become whole."""
        data, samples = b"".join(self._odd), np.concatenate(self._odd_samples)
        blocks = len(samples) // self._block_frames
        fresh = []
        for number in range(blocks):
            at, first = number * self._block_bytes, number * self._block_frames
            block = data[at : at + self._block_bytes]
            found = self._look_at(block, samples[first : first + self._block_frames])
            for notice in found:
                if notice.code not in self._said:
                    self._said.add(notice.code)
                    fresh.append(notice)
        rest = samples[blocks * self._block_frames :].copy()
        self._odd = [data[blocks * self._block_bytes :]]
        self._odd_samples = [rest]
        self._missing = self._block_frames - len(rest)
        return fresh

    def _seek_header(self, data: bytes) -> None:
        self._first += data[: LONGEST_LOOK - len(self._first)]
        if found := signature(self._first):
            raise UnsupportedAudio(
                f"the stream begins with {found}, but bare "
                f"{self._audio.encoding.value} samples were announced: send the "
                "samples alone, or decode the file first"
            )
        if len(self._first) == LONGEST_LOOK:
            self._header_sought = False
            self._first = b""

    def _look_at(self, block: bytes, samples: npt.NDArray[np.float32]) -> list[Notice]:
        checks = (
            self._judge(block),
            self._check_numbers(block),
            self._check_zeros(samples),
            self._check_clipping(samples),
        )
        return [notice for notice in checks if notice]

    def _judge(self, block: bytes) -> Notice | None:
        if self._judged or block.count(block[:1]) == len(block):
            return None
        self._head.append(block)
        if len(self._head) not in _JUDGED_AT:
            return None
        found = misreading(self._audio, b"".join(self._head))
        if isinstance(found, UnsupportedAudio):
            raise found
        if found or len(self._head) == _JUDGED_AT[-1]:
            self._judged = True
            self._head = []
        return found

    def _check_numbers(self, block: bytes) -> Notice | None:
        if self._audio.encoding is not Encoding.PCM_F32LE:
            return None
        if np.isfinite(np.frombuffer(block, "<f4")).all():
            return None
        return Notice(
            "not_finite",
            "some float samples are infinite or not numbers: they are taken as 0",
        )

    def _check_zeros(self, samples: npt.NDArray[np.float32]) -> Notice | None:
        constant = samples[0] == samples[-1]
        if not constant.any():  # seldom in speech, and cheap to ask
            self._constant_blocks[:] = 0
            return None
        constant = (samples == samples[0]).all(axis=0)
        self._constant_blocks = np.where(constant, self._constant_blocks + 1, 0)
        silent = np.flatnonzero(self._constant_blocks >= _ZEROS_BLOCKS)
        if not len(silent):
            return None
        return Notice(
            "zeros",
            f"channel {silent[0] + 1} has held one value for {_ZEROS_BLOCKS / 10:g} s, "
            "as a muted or wrong device does: check the source",
        )

    def _check_clipping(self, samples: npt.NDArray[np.float32]) -> Notice | None:
        self._clipped.append(self._held_at_full_scale(samples))
        if sum(self._clipped) < self._share * _CLIPPING_BLOCKS * samples.size:
            return None
        since = list(dropwhile(lambda count: not count, self._clipped))
        share = sum(since) / (len(since) * samples.size)
        return Notice(
            "clipping",
            f"{share:.1%} of the samples of {len(since) / 10:g} s are at full scale or "
            "beyond: the audio is clipped, lower the gain",
        )

    def _held_at_full_scale(self, samples: npt.NDArray[np.float32]) -> int:
        """How many are, after one that is: a lone peak may touch full scale."""
        scale = FULL_SCALE[self._audio.encoding]
        if -scale < samples.min() and samples.max() < scale:
            return 0
        full = np.abs(samples) >= scale
        return int((full[1:] & full[:-1]).sum())
