"""The front of the front end: bytes in, samples per channel at the model's rate out.

Decoding, inspection and resampling of one connection, and the count of what was
received. Knows nothing of speech.
"""

from __future__ import annotations

from streaming.config import AudioFormat
from streaming.core.inspection import Inspector
from streaming.events import Notice, Samples
from streaming.numeric.pcm import PcmDecoder
from streaming.numeric.resample import Resampler

__all__ = ["Intake"]


class Intake:
    """Takes the messages of one connection.

    Args:
        audio: what its bytes mean.
        model_rate: samples per second that the model wants.

    Attributes:
        received: samples per channel so far, at the input rate.
    """

    def __init__(self, audio: AudioFormat, model_rate: int) -> None:
        self.received = 0
        self._decoder = PcmDecoder(audio)
        self._inspector = Inspector(audio)
        self._resamplers = [
            Resampler(audio.sample_rate, model_rate) for _ in range(audio.channels)
        ]

    @property
    def odd_bytes(self) -> int:
        """Bytes that wait for the rest of their sample."""
        return self._decoder.odd_bytes

    def push(self, data: bytes) -> tuple[list[Samples], list[Notice]]:
        """Take one message.

        Returns:
            For each channel the samples that are ready, at the model's rate, and
            what looks wrong about the audio.

        Raises:
            UnsupportedAudio: it is not what the stream said it would be; the
                message counts as received.
        """
        samples = self._decoder.push(data)
        self.received += len(samples)
        notices = self._inspector.look(data, samples)
        pieces = [
            resampler.push(samples[:, channel])
            for channel, resampler in enumerate(self._resamplers)
        ]
        return pieces, notices

    def drain(self) -> list[Samples]:
        """Give what the resamplers hold back; what follows is resampled afresh."""
        return [resampler.drain() for resampler in self._resamplers]
