"""What a stream is: its audio, its utterances, its windows, its hypotheses."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from streaming.config.bounds import within
from streaming.errors import ConfigError

__all__ = [
    "AudioFormat",
    "DecoderConfig",
    "Encoding",
    "Finals",
    "GateConfig",
    "StreamConfig",
    "WindowConfig",
]


class Encoding(Enum):
    """How a sample is written."""

    PCM_S16LE = "pcm_s16le"
    PCM_S24LE = "pcm_s24le"
    PCM_F32LE = "pcm_f32le"
    MULAW = "mulaw"
    ALAW = "alaw"

    @property
    def width(self) -> int:
        """Bytes a sample."""
        widths = {"pcm_s16le": 2, "pcm_s24le": 3, "pcm_f32le": 4}
        return widths.get(self.value, 1)


class Finals(Enum):
    """How finals are made; `auto` takes the full pass where it is affordable."""

    AUTO = "auto"
    FULL = "full"
    STITCHED = "stitched"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What the bytes of a stream mean.

    Attributes:
        encoding: how a sample is written.
        sample_rate: samples per second and channel.
        channels: 1 or 2, interleaved.
    """

    encoding: Encoding = Encoding.PCM_S16LE
    sample_rate: int = 16_000
    channels: int = 1

    def __post_init__(self) -> None:
        within("sample_rate", self.sample_rate, 8_000, 48_000)
        within("channels", self.channels, 1, 2)


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Which audio is speech, and where an utterance begins and ends.

    Attributes:
        vad: `webrtc`, or `silero` with its extra installed.
        vad_mode: WebRTC VAD's aggressiveness, 0 (lets most through) to 3.
        frame_ms: frame of the voice activity detector: 10, 20 or 30.
        onset_frames: frames looked back on for an onset.
        onset_speech_frames: how many of them must be speech.
        pre_roll_ms: audio decoded before the onset, never before the previous end.
        hangover_ms: silence that ends an utterance; it is decoded too.
        max_utterance_s: longest utterance; longer speech is cut at a quiet point.
        blank_extra_ms: blanks after text, beyond the hangover, that end it as well.
    """

    vad: str = "webrtc"
    vad_mode: int = 2
    frame_ms: int = 20
    onset_frames: int = 5
    onset_speech_frames: int = 3
    pre_roll_ms: int = 300
    hangover_ms: int = 500
    max_utterance_s: float = 30.0
    blank_extra_ms: int = 500

    def __post_init__(self) -> None:
        if self.vad not in ("webrtc", "silero"):
            raise ConfigError(f"vad must be webrtc or silero, got {self.vad!r}")
        if self.frame_ms not in (10, 20, 30):
            raise ConfigError(f"frame_ms must be 10, 20 or 30, got {self.frame_ms}")
        within("vad_mode", self.vad_mode, 0, 3)
        within("onset_frames", self.onset_frames, 1, 50)
        within("onset_speech_frames", self.onset_speech_frames, 1, self.onset_frames)
        within("pre_roll_ms", self.pre_roll_ms, 0, 2_000)
        within("hangover_ms", self.hangover_ms, 100, 5_000)
        within("max_utterance_s", self.max_utterance_s, 2, 120)
        within("blank_extra_ms", self.blank_extra_ms, 100, 5_000)


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """Lengths of a window; each is rounded to whole strides.

    Attributes:
        left_ms: left context. None means what is usual for how the model runs:
            1,200 where windows overlap, since each computes it anew, and 5,120
            where it is kept as state, since there it costs little.
        hop_ms: kept part.
        right_ms: right context.
    """

    left_ms: int | None = None
    hop_ms: int = 480
    right_ms: int = 320

    def left(self, *, stateful: bool) -> int:
        """Milliseconds of left context for a model that runs this way."""
        if self.left_ms is not None:
            return self.left_ms
        return 5_120 if stateful else 1_200

    def __post_init__(self) -> None:
        if self.left_ms is not None:
            within("left_ms", self.left_ms, 0, 30_000)
        within("hop_ms", self.hop_ms, 80, 4_000)
        within("right_ms", self.right_ms, 0, 4_000)


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """How hypotheses are made.

    Attributes:
        finals: full passes, stitched windows, or what is affordable.
        speculate_ms: silence after which a full pass is begun.
        speculate_every_s: least audio between two full passes of one utterance.
    """

    finals: Finals = Finals.AUTO
    speculate_ms: int = 200
    speculate_every_s: float = 2.0

    def __post_init__(self) -> None:
        within("speculate_ms", self.speculate_ms, 20, 5_000)
        within("speculate_every_s", self.speculate_every_s, 0.1, 60)


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """What a client may ask for its own stream.

    Attributes:
        audio: what its bytes mean.
        gate: its utterances.
        window: its windows (the server's choice).
        decoder: its hypotheses.
        language: BCP 47 tag; None means the model's.
        partials: whether to send partials.
        words: whether finals carry word times and confidences.
        budget_ms: latency budget of a partial.
        stall_ms: silence on the wire, inside an utterance, that ends it.
    """

    audio: AudioFormat = field(default_factory=AudioFormat)
    gate: GateConfig = field(default_factory=GateConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    language: str | None = None
    partials: bool = True
    words: bool = True
    budget_ms: int = 500
    stall_ms: int = 3_000

    def __post_init__(self) -> None:
        within("budget_ms", self.budget_ms, 20, 60_000)
        within("stall_ms", self.stall_ms, 200, 60_000)
