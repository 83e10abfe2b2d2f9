"""What the steps of a stateful model must say, computed without any state.

One pass over an utterance: the rows of all hops, then for each step a copy of the
rows of its right context, under one mask, as Emformer is trained (arXiv 2010.10759,
section 2.2). It uses transformers' modules and none of ours.
"""

from __future__ import annotations

import torch


@torch.inference_mode()
def masked_pass(module, geometry, horizon, samples, steps):
    """Logits of every step, each `(rows of hop and right context, labels)`.

    Args:
        module: a `Wav2Vec2ForCTC` in eval mode.
        geometry: samples to rows.
        horizon: left context, sinks, and how many rows of right context are kept.
        samples: `(n,)`, of the utterance.
        steps: `(hop, right)` in samples, in order.
    """
    encoder = module.wav2vec2.encoder
    spans = _spans(geometry, steps)
    inputs = _inputs(module, geometry, horizon, torch.from_numpy(samples), steps)
    hops = [x[: end - start] for x, (start, end, _) in zip(inputs, spans, strict=True)]
    rights = [
        x[end - start :] for x, (start, end, _) in zip(inputs, spans, strict=True)
    ]
    x = torch.cat([*hops, *rights])[None]
    seen = _mask(horizon, spans)
    bias = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(x.dtype).min)
    stable = module.config.do_stable_layer_norm
    if not stable:
        x = encoder.layer_norm(x)
    for layer in encoder.layers:
        x = layer(x, attention_mask=bias[None, None])
        x = x[0] if isinstance(x, tuple) else x  # transformers 4 gives tuples
    if stable:
        x = encoder.layer_norm(x)
    logits = module.lm_head(x)[0].split([len(each) for each in (*hops, *rights)])
    pairs = zip(logits[: len(hops)], logits[len(hops) :], strict=True)
    return [torch.cat(pair).numpy() for pair in pairs]


def _spans(geometry, steps):
    """First row of each step, the row after its hop, the row after it."""
    spans, at = [], 0
    for hop, right in steps:
        start = at // geometry.stride
        spans.append(
            (start, geometry.steps(at + hop), geometry.steps(at + hop + right))
        )
        at += hop
    return spans


def _inputs(module, geometry, horizon, samples, steps):
    """The transformer's input of each step, its positions added."""
    positions = module.wav2vec2.encoder.pos_conv_embed
    before = positions.conv.kernel_size[0] // 2
    rows: list[torch.Tensor] = []  # of the utterance, as far as a step has kept them
    found, at = [], 0
    for (hop, right), (start, end, last) in zip(
        steps, _spans(geometry, steps), strict=True
    ):
        heard = samples[: at + hop + right]
        whole = (len(heard) - geometry.receptive_field) // geometry.stride + 1
        # As though the utterance ended here; rows that were whole before stay.
        new = _front(module, geometry, heard)
        rows = [*rows[: max(start, min(whole, last - 1))]]
        rows += new[len(rows) :]
        x = torch.stack(rows[max(0, start - before) : last])
        left = len(x) - (last - start)
        found.append((x + positions(x[None])[0])[left:])
        rows = rows[: max(end, min(whole, end + horizon.right))]
        at += hop
    return found


def _front(module, geometry, samples):
    body = module.wav2vec2
    padded = torch.nn.functional.pad(
        samples, (0, geometry.padded(len(samples)) - len(samples))
    )
    features = body.feature_extractor(padded[None]).transpose(1, 2)
    return body.feature_projection(features)[0][0]


def _mask(horizon, spans):
    """Which row sees which, `(hops and copies, hops and copies)`."""
    total = spans[-1][1]
    copies = [last - end for _, end, last in spans]
    seen = torch.zeros(total + sum(copies), total + sum(copies), dtype=torch.bool)
    begin = total
    for (start, end, _), width in zip(spans, copies, strict=True):
        for group in (slice(start, end), slice(begin, begin + width)):
            seen[group, max(0, start - horizon.left) : end] = True
            seen[group, : min(start, horizon.sink)] = True
            seen[group, begin : begin + width] = True
        begin += width
    return seen
