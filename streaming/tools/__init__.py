"""Offline tools on the same core: train, evaluate, export, transcribe."""
