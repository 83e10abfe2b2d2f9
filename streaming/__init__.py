"""Streaming speech recognition with models of the wav2vec2 family."""

__version__ = "0.1.0.dev0"
