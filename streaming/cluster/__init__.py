"""Several processes on one machine: ingest processes, and an engine for each device.

No cluster of our own beyond that: a parent that starts them, hands out connections
and starts again what died. See "More than one process" in streaming/README.md.
"""

from streaming.cluster.serving import running, serve

__all__ = ["running", "serve"]
