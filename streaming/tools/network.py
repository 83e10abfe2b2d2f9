"""A wav2vec 2.0 CTC model written as matrix products, for export.

The same weights and the same logits as transformers' `Wav2Vec2ForCTC`, laid out
so that ONNX Runtime runs it fast on a CPU: channels last throughout, strided
convolutions as reshapes and matrix products, queries, keys and values in one.
Knows torch; does not know ONNX, nor where the weights came from.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from streaming.errors import ModelError

__all__ = ["MatrixConvolution", "Network"]


class MatrixConvolution(nn.Module):
    """A strided convolution over `(batch, time, channels)` as matrix products.

    `kernel // stride` whole strides of input are one row of a product, what is
    left of the kernel is one product a tap. Dynamic int8 then covers it, as it
    covers any product with constant weights, where ONNX Runtime's ConvInteger is
    slower than Conv in fp32.

    Args:
        convolution: weight `(out, in, kernel)`, no padding, no groups.
    """

    def __init__(self, convolution: nn.Conv1d) -> None:
        super().__init__()
        self.kernel = convolution.kernel_size[0]
        self.stride = convolution.stride[0]
        self.whole = self.kernel // self.stride
        taps = convolution.weight.detach().permute(2, 1, 0)  # (kernel, in, out)
        split = self.whole * self.stride
        self.strides = nn.Parameter(taps[:split].flatten(0, 1).clone())
        self.rest = nn.ParameterList(tap.clone() for tap in taps[split:])
        bias = convolution.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, time, in)` to `(batch, (time - kernel) // stride + 1, out)`."""
        batch, time, channels = x.shape
        steps = (time - self.kernel) // self.stride + 1
        count = steps + self.whole - 1
        blocks = x[:, : count * self.stride].reshape(
            batch, count, self.stride * channels
        )
        if self.whole > 1:
            blocks = torch.cat(
                [blocks[:, i : i + steps] for i in range(self.whole)], dim=-1
            )
        y = blocks @ self.strides
        for i, tap in enumerate(self.rest):
            begin = self.whole * self.stride + i
            y = (
                y
                + x[:, begin : begin + (steps - 1) * self.stride + 1 : self.stride]
                @ tap
            )
        return y if self.bias is None else y + self.bias


class TimeNorm(nn.Module):
    """Group norm with a group for each channel: statistics over the time."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, time, channels)` to the same."""
        centred = x - x.mean(dim=1, keepdim=True)
        variance = (centred * centred).mean(dim=1, keepdim=True)
        return centred / torch.sqrt(variance + self.eps) * self.weight + self.bias


class FrontEnd(nn.Module):
    """The feature encoder: `(batch, samples)` to `(batch, steps, channels)`."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer in source.conv_layers:
            layers.append(MatrixConvolution(layer.conv))
            match getattr(layer, "layer_norm", None):
                case nn.GroupNorm() as norm:
                    layers.append(TimeNorm(norm))
                case None:
                    pass
                case norm:
                    layers.append(norm)
            layers.append(nn.GELU())
        self.layers = nn.Sequential(*layers)

    def forward(self, samples: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.layers(samples[:, :, None])
        return y


class Positions(nn.Module):
    """The convolutional positions, added: grouped, so it stays a convolution."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.convolution = source.conv
        self.excess = source.padding.num_pad_remove

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, steps, hidden)` to the same."""
        y = self.convolution(x.transpose(1, 2))
        y = y[:, :, : -self.excess] if self.excess else y
        return x + functional.gelu(y).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention over all steps; the scale is folded into the queries."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.heads, self.width = source.num_heads, source.head_dim
        parts = (source.q_proj, source.k_proj, source.v_proj)
        scales = (source.scaling, 1.0, 1.0)
        self.inward = nn.Linear(parts[0].in_features, 3 * self.heads * self.width)
        pairs = list(zip(parts, scales, strict=True))
        self.inward.weight.data = torch.cat([p.weight.data * s for p, s in pairs])
        self.inward.bias.data = torch.cat([p.bias.data * s for p, s in pairs])
        self.outward = source.out_proj

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, steps, hidden)` to the same."""
        batch, steps, hidden = x.shape
        inward = self.inward(x).reshape(batch, steps, 3, self.heads, self.width)
        query, key, value = inward.permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(query @ key.transpose(-2, -1), dim=-1)
        y = (weights @ value).transpose(1, 2).reshape(batch, steps, hidden)
        return self.outward(y)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """A transformer layer, its norms before (stable) or after its parts."""

    def __init__(self, source: Any, *, stable: bool) -> None:
        super().__init__()
        self.stable = stable
        self.attention = Attention(source.attention)
        self.norm = source.layer_norm
        self.widen = source.feed_forward.intermediate_dense
        self.narrow = source.feed_forward.output_dense
        self.last_norm = source.final_layer_norm
        self.adapter = getattr(source, "adapter_layer", None)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, steps, hidden)` to the same."""
        if not self.stable:
            x = self.norm(x + self.attention(x))
            return self.last_norm(x + self._feed(x))  # type: ignore[no-any-return]
        x = x + self.attention(self.norm(x))
        x = x + self._feed(self.last_norm(x))
        return x if self.adapter is None else x + self.adapter(x)

    def _feed(self, x: Tensor) -> Tensor:
        return self.narrow(functional.gelu(self.widen(x)))  # type: ignore[no-any-return]


class Network(nn.Module):
    """The whole model: `(batch, samples)` to logits `(batch, steps, labels)`.

    Args:
        source: a `Wav2Vec2ForCTC` in fp32, its weight norms folded; the modules
            that need no rewriting are shared with it.

    Raises:
        ModelError: it has a part that is not written here.
    """

    def __init__(self, source: Any) -> None:
        super().__init__()
        config = source.config
        for name, wanted in (
            ("model_type", "wav2vec2"),
            ("hidden_act", "gelu"),
            ("feat_extract_activation", "gelu"),
            ("add_adapter", False),
        ):
            if getattr(config, name) != wanted:
                raise ModelError(
                    f"cannot export {name}={getattr(config, name)!r}, only {wanted!r}; "
                    "serve this checkpoint through torch"
                )
        body = source.wav2vec2
        self.stable = config.do_stable_layer_norm
        self.front = FrontEnd(body.feature_extractor)
        self.front_norm = body.feature_projection.layer_norm
        self.projection = body.feature_projection.projection
        self.positions = Positions(body.encoder.pos_conv_embed)
        self.norm = body.encoder.layer_norm
        self.layers = nn.ModuleList(
            Layer(layer, stable=self.stable) for layer in body.encoder.layers
        )
        self.head = source.lm_head

    def forward(self, samples: Tensor) -> Tensor:
        """See the class."""
        x = self.projection(self.front_norm(self.front(samples)))
        x = self.positions(x)
        if not self.stable:
            x = self.norm(x)
        for layer in self.layers:
            x = layer(x)
        if self.stable:
            x = self.norm(x)
        return self.head(x)  # type: ignore[no-any-return]
