"""Find the utterances in a stream: which samples to decode, which to leave out.

Frames are asked one by one whether they are speech; enough of them open an
utterance, enough silence ends it, and one that grows too long is cut where it
is quietest. All is decided in sample positions, so chunking never matters.
Every sample lies in exactly one utterance `[Opened.start, Closed.end)` or in
none. Knows neither what the detector is nor what becomes of the samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import TypeAlias

from streaming.config import GateConfig
from streaming.core.endpoints import GateLengths, quietest
from streaming.core.track import Track
from streaming.core.turns import Closed, GateEvent, Opened, Quiet, Resumed, Speech
from streaming.errors import ConfigError
from streaming.events import EndReason, Samples

__all__ = ["Gate", "IsSpeech", "State"]

IsSpeech: TypeAlias = Callable[[Samples], bool]  # one frame, in order


class State(Enum):
    """Where a gate stands."""

    WAITING = "waiting"  # no utterance is open
    SPEAKING = "speaking"  # the last frame was speech
    PAUSING = "pausing"  # the last frame was silence, the utterance is open


class _Cue(Enum):
    SPEECH = "speech"
    SILENCE = "silence"
    ONSET = "onset"
    ENDPOINT = "endpoint"
    CUT = "cut"
    FLUSH = "flush"


_TRANSITIONS = {
    (State.WAITING, _Cue.SPEECH): State.WAITING,
    (State.WAITING, _Cue.SILENCE): State.WAITING,
    (State.WAITING, _Cue.ONSET): State.SPEAKING,
    (State.WAITING, _Cue.FLUSH): State.WAITING,
    (State.SPEAKING, _Cue.SPEECH): State.SPEAKING,
    (State.SPEAKING, _Cue.SILENCE): State.PAUSING,
    (State.SPEAKING, _Cue.CUT): State.SPEAKING,
    (State.SPEAKING, _Cue.FLUSH): State.WAITING,
    (State.PAUSING, _Cue.SPEECH): State.SPEAKING,
    (State.PAUSING, _Cue.SILENCE): State.PAUSING,
    (State.PAUSING, _Cue.ENDPOINT): State.WAITING,
    (State.PAUSING, _Cue.CUT): State.PAUSING,
    (State.PAUSING, _Cue.FLUSH): State.WAITING,
}


class Gate:
    """Turn samples into utterances; make one per channel.

    Where the decoder ends an utterance, make a new one that starts at its cut.

    Args:
        config: when utterances begin and end.
        sample_rate: of the samples.
        detector: makes the `is_speech` that is asked about each frame in order.
        search: samples before the maximum in which the quietest point is sought.
        max_samples: longest utterance, in place of the config's seconds: what the
            windows allow to be cut depends on it.
        speculate: silence in samples after which `Quiet` is told.
        start: position of the first sample to come.

    Raises:
        ConfigError: the lengths contradict one another.
    """

    def __init__(
        self,
        config: GateConfig,
        sample_rate: int,
        detector: Callable[[], IsSpeech],
        *,
        search: int,
        max_samples: int,
        speculate: int,
        start: int = 0,
    ) -> None:
        self._config = config
        self._rate = sample_rate
        self._is_speech = detector()
        self._lengths = GateLengths.of(
            config, sample_rate, search, max_samples, speculate
        )
        self._state = State.WAITING
        self._audio = Track(start)  # what may still be given
        self._position = start  # frames before it are judged
        self._floor = start  # no utterance may begin before
        self._recent: deque[bool] = deque(maxlen=config.onset_frames)
        # Of the open utterance:
        self._start = start
        self._given = start
        self._speech_end = start
        self._quiet_told = False
        self._limit = max_samples

    @property
    def state(self) -> State:
        """Where the gate stands."""
        return self._state

    @property
    def received(self) -> int:
        """The position after the last sample that came."""
        return self._audio.end

    @property
    def settled(self) -> int:
        """The position before which no later event changes what is gated."""
        if self._state is not State.WAITING:
            return self._start
        reach = self._lengths.onset + self._lengths.pre_roll
        return max(self._floor, self._position - reach)

    def configure(self, config: GateConfig, max_samples: int) -> None:
        """Go by other settings from the current position on.

        An open utterance that is longer than a new maximum keeps its old one, as
        the caller's windows may not allow a cut here; 100 ms of silence end it.

        Raises:
            ConfigError: the detector or its frame would change, or the lengths
                contradict one another; the old settings stay.
        """
        old = self._config
        same = replace(
            config, vad=old.vad, vad_mode=old.vad_mode, frame_ms=old.frame_ms
        )
        if config != same:
            raise ConfigError("vad, vad_mode and frame_ms cannot change in a stream")
        old_lengths = self._lengths
        lengths = GateLengths.of(
            config, self._rate, old_lengths.search, max_samples, old_lengths.speculate
        )
        if self._state is State.WAITING:
            self._floor = self.settled  # audio before it is gone
        self._config = config
        self._lengths = lengths
        self._recent = deque(self._recent, maxlen=config.onset_frames)
        if self._position - self._start + lengths.frame <= max_samples:
            self._limit = max_samples

    def push(self, samples: Samples) -> list[GateEvent]:
        """Take samples, `(n,)`; return what they bring about."""
        audio, is_speech, frame = self._audio, self._is_speech, self._lengths.frame
        audio.add(samples)
        events: list[GateEvent] = []
        while (end := self._position + frame) <= audio.end:
            speech = is_speech(audio.between(self._position, end))
            self._position = end
            self._go(_Cue.SPEECH if speech else _Cue.SILENCE)
            if self._state is State.WAITING:
                self._look_for_onset(speech, events)
            else:
                self._look_for_end(speech, events)
        self._give(events)
        if self._state is State.WAITING:
            audio.forget(self.settled)
        else:
            audio.forget(self._position - self._lengths.search)
        return events

    def flush(self, reason: EndReason) -> list[GateEvent]:
        """End the open utterance at the last sample that came.

        Speech too short for an onset opens one first, so that the tail is
        decoded. A begun frame counts as what the frame before it was. Frames go
        on from here, and no later utterance reaches back before it.
        """
        events: list[GateEvent] = []
        if self._state is State.WAITING and any(self._recent):
            self._open(events)
        if self._state is not State.WAITING:
            if self._speech_end == self._position:
                self._speech_end = self.received
            self._position = self.received
            self._close(_Cue.FLUSH, reason, events)
        else:
            self._go(_Cue.FLUSH)
        self._position = self._floor = self.received
        self._audio.forget(self.received)
        self._recent.clear()
        return events

    def _look_for_onset(self, speech: bool, events: list[GateEvent]) -> None:
        self._recent.append(speech)
        if speech and sum(self._recent) >= self._config.onset_speech_frames:
            self._open(events)

    def _look_for_end(self, speech: bool, events: list[GateEvent]) -> None:
        lengths = self._lengths
        length = self._position - self._start
        if speech:
            self._speech_end = self._position
            if self._quiet_told:
                self._quiet_told = False
                self._give(events)
                events.append(Resumed(self._position - lengths.frame))
        silence = self._position - self._speech_end
        if silence >= lengths.silence_that_ends(length):
            early = silence < lengths.hangover
            reason = EndReason.MAX_LENGTH if early else EndReason.SILENCE
            self._close(_Cue.ENDPOINT, reason, events)
        elif length + lengths.frame > self._limit:
            self._cut(events)
        elif silence >= lengths.speculate and not self._quiet_told:
            self._quiet_told = True
            self._give(events)
            events.append(Quiet(self._position))

    def _open(self, events: list[GateEvent]) -> None:
        flags = list(self._recent)
        frame = self._lengths.frame
        at = self._position - (len(flags) - flags.index(True)) * frame
        self._recent.clear()
        self._begin(max(self._floor, at - self._lengths.pre_roll), at, events)
        self._speech_end = self._position - flags[::-1].index(True) * frame
        self._go(_Cue.ONSET)

    def _close(self, cue: _Cue, reason: EndReason, events: list[GateEvent]) -> None:
        self._give(events)
        events.append(Closed(self._position, self._speech_end, reason))
        self._floor = self._position
        self._go(cue)

    def _cut(self, events: list[GateEvent]) -> None:
        self._give(events)
        search = self._lengths.search
        tail = self._audio.between(self._position - search, self._position)
        end = self._position - search + quietest(tail, self._lengths.frame)
        speech_end = min(self._speech_end, end)
        events.append(Closed(end, speech_end, EndReason.MAX_LENGTH))
        self._begin(end, end, events)
        self._speech_end = max(self._speech_end, end)
        self._go(_Cue.CUT)

    def _begin(self, start: int, at: int, events: list[GateEvent]) -> None:
        events.append(Opened(start, at))
        self._start = self._given = start
        self._quiet_told = False
        self._limit = self._lengths.maximum

    def _give(self, events: list[GateEvent]) -> None:
        if self._state is not State.WAITING and self._given < self._position:
            samples = self._audio.between(self._given, self._position)
            events.append(Speech(self._given, samples))
            self._given = self._position

    def _go(self, cue: _Cue) -> None:
        try:
            self._state = _TRANSITIONS[self._state, cue]
        except KeyError:
            raise ValueError(
                f"a gate that is {self._state.value} cannot take {cue.value}"
            ) from None
