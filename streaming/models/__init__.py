"""The only place that knows a runtime: checkpoints in, logits out."""
