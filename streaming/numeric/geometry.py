"""How a model's rows of logits lie over its samples.

Row i of a window belongs to samples `[i * stride, (i + 1) * stride)`, although
the front end sees `receptive_field` samples for it. Knows three numbers; does
not know which model they came from, nor what a window is made of.
"""

from __future__ import annotations

from dataclasses import dataclass

from streaming.errors import ModelError

__all__ = ["Geometry"]


@dataclass(frozen=True, slots=True)
class Geometry:
    """The convolutional front end as three integers.

    The defaults are those of the wav2vec 2.0 family (arXiv 2006.11477, section
    4.2): seven convolutions, 20 ms apart, each row seeing 25 ms.

    Attributes:
        sample_rate: samples per second the model takes.
        stride: samples per row of logits.
        receptive_field: samples that the front end needs for one row.

    Raises:
        ModelError: a number is not positive, or rows would leave samples unseen.
    """

    sample_rate: int = 16_000
    stride: int = 320
    receptive_field: int = 400

    def __post_init__(self) -> None:
        if self.sample_rate <= 0 or self.stride <= 0:
            raise ModelError(
                f"sample_rate and stride must be positive, "
                f"got {self.sample_rate} and {self.stride}"
            )
        if self.receptive_field < self.stride:
            raise ModelError(
                f"receptive_field must be at least the stride {self.stride}, "
                f"got {self.receptive_field}"
            )

    def steps(self, samples: int) -> int:
        """Rows that cover `samples` samples: a begun stride counts."""
        return -(-samples // self.stride)

    def padded(self, samples: int) -> int:
        """Length to zero-pad `samples` to, so that `steps(samples)` rows come out.

        An unpadded convolution gives `(n - receptive_field) // stride + 1` rows
        of n samples; this is the least n that gives `steps(samples)`.
        """
        return self.steps(samples) * self.stride + self.receptive_field - self.stride

    def samples_of_ms(self, ms: int) -> int:
        """Milliseconds as samples, rounded to whole strides (halves up)."""
        unit = 1_000 * self.stride
        return (2 * ms * self.sample_rate + unit) // (2 * unit) * self.stride
