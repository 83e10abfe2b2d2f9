"""Log-mel features as w2v-BERT 2.0 takes them, whole batches on the device.

The numbers of transformers' `SeamlessM4TFeatureExtractor` (Kaldi's filter bank:
25 ms Povey windows every 10 ms, 80 bands, two frames stacked), whose own loop
over single frames in Python is too slow for a server. Knows torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["MelFeatures"]

_FRAME = 400
_HOP = 160
_FFT = 512
_PREEMPHASIS = 0.97
_FLOOR = 1.192092955078125e-07  # float32's epsilon, Kaldi's floor
_EPSILON = 1e-7


class MelFeatures:
    """Samples to stacked, normalised log-mel frames.

    Args:
        extractor: the checkpoint's `SeamlessM4TFeatureExtractor`; its filters and
            its stride are used.
        device: where to compute.
    """

    def __init__(self, extractor: Any, device: torch.device) -> None:
        self.stacked = int(extractor.stride)
        self._filters = torch.as_tensor(extractor.mel_filters, dtype=torch.float64).to(
            device
        )
        self._window = torch.as_tensor(extractor.window, dtype=torch.float64).to(device)

    def __call__(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """Features of a batch.

        The statistics of a band are taken over the frames that lie wholly in a
        window's samples, as the extractor does, which has no others (over those that
        begin in them, where fewer than two do). Frames that begin past the samples
        are the mean, 0.

        Args:
            samples: `(batch, n)`, -1..1, zero-padded so that n gives whole stacks.
            lengths: `(batch,)`, samples before the padding.

        Returns:
            `(batch, frames // stacked, bands * stacked)`, float32.
        """
        # Double precision as in the reference: quiet bands are small differences.
        frames = (samples.double() * 2**15).unfold(1, _FRAME, _HOP)
        frames = frames - frames.mean(dim=-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        frames = (frames - _PREEMPHASIS * before) * self._window
        power = torch.fft.rfft(frames, n=_FFT).abs() ** 2
        mel = (power @ self._filters).clamp_min(_FLOOR).log()  # (batch, frames, bands)

        # Frames wholly in the samples, and frames that begin in them.
        whole = (lengths - _FRAME).div(_HOP, rounding_mode="floor") + 1
        begun = (lengths + _HOP - 1).div(_HOP, rounding_mode="floor")
        counts = torch.where(whole < 2, begun, whole)[:, None, None]
        index = torch.arange(mel.shape[1], device=mel.device)[None, :, None]
        counted = index < counts
        mean = (mel * counted).sum(1, keepdim=True) / counts
        centred = mel - mean
        # The extractor divides by n - 1.
        squares = (centred**2 * counted).sum(1, keepdim=True)
        deviation = torch.sqrt(squares / (counts - 1).clamp_min(1) + _EPSILON)
        normal = centred / deviation * (index < begun[:, None, None])
        stacked: Tensor = normal.float().reshape(
            mel.shape[0], -1, mel.shape[2] * self.stacked
        )
        return stacked
