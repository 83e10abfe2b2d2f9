"""Voice activity detectors: is this frame speech?

Objects that answer `is_speech` for one stream's frames in order. The only file
that knows webrtcvad and Silero; it does not know what the answers are for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import webrtcvad

from streaming.config import GateConfig
from streaming.errors import ConfigError
from streaming.events import Samples

__all__ = ["Detector", "SileroVad", "WebRtcVad", "load_detector"]

Detector: TypeAlias = Callable[[], Callable[[Samples], bool]]  # one call a stream


# A fresh detector takes whatever comes first for speech, room noise too, for 80 to
# 120 ms (measured on 24 noises, every mode but 3). Onset's pre-roll brings back what
# was speech.
_SETTLING_S = 0.12

_SCALE, _LEAST, _MOST = np.float32(32_768), np.float32(-32_768), np.float32(32_767)


class WebRtcVad:
    """WebRTC's Gaussian mixture detector; one per stream, as it adapts.

    About 10 microseconds a frame. It says speech for much of any noise: the
    decoder's blanks have to end such utterances.

    Args:
        sample_rate: 8000, 16000, 32000 or 48000.
        mode: 0, which lets most through, to 3.

    Raises:
        ConfigError: another rate.
    """

    def __init__(self, sample_rate: int, mode: int) -> None:
        if not webrtcvad.valid_rate_and_frame_length(sample_rate, sample_rate // 100):
            raise ConfigError(
                "WebRTC VAD takes 8000, 16000, 32000 or 48000 samples a second,"
                f" got {sample_rate}"
            )
        self._rate = sample_rate
        self._vad = webrtcvad.Vad(mode)
        self._unsettled = int(_SETTLING_S * sample_rate)
        self._scaled: Samples = np.empty(0, np.float32)  # one frame, reused

    def __call__(self, frame: Samples) -> bool:
        """Whether a frame of 10, 20 or 30 ms, `(n,)` in -1..1, is speech.

        Raises:
            ValueError: the frame has another length.
        """
        if len(frame) != len(self._scaled):
            self._scaled = self._room_for(len(frame))
        scaled = np.multiply(frame, _SCALE, out=self._scaled)
        np.rint(scaled, out=scaled)
        # np.clip costs as much as all the rest.
        np.maximum(scaled, _LEAST, out=scaled)
        np.minimum(scaled, _MOST, out=scaled)
        speech: bool = self._vad.is_speech(scaled.astype("<i2").tobytes(), self._rate)
        if self._unsettled > 0:
            self._unsettled -= len(frame)
            return False
        return speech

    def _room_for(self, length: int) -> Samples:
        if not webrtcvad.valid_rate_and_frame_length(self._rate, length):
            raise ValueError(
                f"a frame is 10, 20 or 30 ms, got {length} samples at {self._rate} Hz"
            )
        return np.empty(length, np.float32)


class SileroVad:
    """Silero's neural detector, https://github.com/snakers4/silero-vad (MIT).

    It judges 32 ms at a time, with 4 ms of context and a recurrent state; a frame
    gets the verdict of the last 32 ms that were complete, so answers are up to
    32 ms old. As in Silero's own iterator, speech goes on until the probability
    falls 0.15 under the threshold.

    Args:
        session: an onnxruntime session of `silero_vad.onnx`; streams may share it.
        sample_rate: 8000 or 16000.
        threshold: probability from which audio is speech.

    Raises:
        ConfigError: another rate.
    """

    def __init__(self, session: Any, sample_rate: int, threshold: float = 0.5) -> None:
        if sample_rate not in (8_000, 16_000):
            raise ConfigError(
                f"Silero VAD takes 8000 or 16000 samples a second, got {sample_rate}"
            )
        self._session = session
        self._rate = np.array(sample_rate, np.int64)
        self._threshold = threshold
        self._block = sample_rate * 32 // 1000
        self._context = sample_rate * 4 // 1000
        self._audio: Samples = np.zeros(self._context, np.float32)  # context, then new
        self._state = np.zeros((2, 1, 128), np.float32)
        self._speech = False

    def __call__(self, frame: Samples) -> bool:
        """Whether a frame of any length, `(n,)` in -1..1, ends in speech."""
        self._audio = np.concatenate((self._audio, frame))
        need = self._context + self._block
        while len(self._audio) >= need:
            probability, self._state = self._session.run(
                None,
                {
                    "input": self._audio[None, :need],
                    "state": self._state,
                    "sr": self._rate,
                },
            )
            least = self._threshold - (0.15 if self._speech else 0.0)
            self._speech = bool(probability[0, 0] >= least)
            self._audio = self._audio[self._block :]
        return self._speech


def load_detector(config: GateConfig, sample_rate: int) -> Detector:
    """Return what makes a detector for each stream.

    Raises:
        ConfigError: the rate does not suit it, or Silero is not installed.
    """
    if config.vad == "silero":
        session = _silero_session()
        SileroVad(session, sample_rate)  # refuse a rate now, not at the first stream
        return lambda: SileroVad(session, sample_rate)
    WebRtcVad(sample_rate, config.vad_mode)
    return lambda: WebRtcVad(sample_rate, config.vad_mode)


def _silero_session() -> Any:
    # The package imports torch; its model does not need it, so only the file is
    # taken, and the package is never imported.
    spec = find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "vad silero needs the package silero-vad: pip install wavestitch[silero]"
        )
    path = Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.onnx"
    if not path.is_file():
        raise ConfigError(f"the installed silero-vad has no {path.name} at {path}")
    import onnxruntime  # noqa: PLC0415  WebRTC's users need not wait for it

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
