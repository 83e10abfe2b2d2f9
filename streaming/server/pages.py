"""What a GET sees on the port of the websockets: health, readiness, metrics, models."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import TypeAlias
from urllib.parse import unquote

from websockets.datastructures import Headers
from websockets.http11 import Response

from streaming.config import StreamConfig
from streaming.protocols.adapter import Refusal
from streaming.protocols.openai_rest import MODELS_PATH, model_page, models_page
from streaming.server.metrics import CONTENT_TYPE_LATEST, Metrics
from streaming.server.standing import RETRY_S, Standing

__all__ = [
    "Page",
    "Pages",
    "Seen",
    "Whole",
    "json_answer",
    "not_found",
    "refuse",
    "upgrade_required",
    "wrong_method",
]


@dataclass(frozen=True, slots=True)
class Seen:
    """How a server stands.

    Attributes:
        status: `ready`, or why not.
        metrics: in Prometheus' exposition format.
    """

    status: str
    metrics: str


Whole: TypeAlias = Callable[[], Awaitable[Seen]]
Page: TypeAlias = Callable[[], Response | Awaitable[Response]]


class Pages:
    """What a GET can see.

    Args:
        standing: how the server stands.
        metrics: what it counts.
        defaults: what a stream is that asks for nothing.
        whole: says it for all processes, where this server is one of several.
    """

    def __init__(
        self,
        standing: Standing,
        metrics: Metrics,
        defaults: StreamConfig,
        whole: Whole | None = None,
    ) -> None:
        self.paths: dict[str, Page] = {
            "/healthz": _healthz,
            "/readyz": lambda: _readyz(standing.status(defaults)),
            "/metrics": lambda: _metrics(metrics.text()),
        }
        if whole is not None:
            self.paths |= {
                "/readyz": _seen_by(whole, lambda seen: _readyz(seen.status)),
                "/metrics": _seen_by(whole, lambda seen: _metrics(seen.metrics)),
            }
        self._standing = standing
        self._since = int(time.time())
        self.paths[MODELS_PATH] = lambda: self._model(None)

    def find(self, path: str) -> Page | None:
        """The page at a path."""
        name = path.removeprefix(f"{MODELS_PATH}/")
        if name in ("", path):
            return self.paths.get(path)
        return lambda: self._model(unquote(name))

    def _model(self, asked: str | None) -> Response:
        """The model that is served; None asks for all there are."""
        if self._standing.backend is None:
            return _readyz("warming up")
        served = self._standing.backend.facts.name
        if asked is None:
            return json_answer(200, models_page(served, self._since).text)
        seen = model_page(asked, served, self._since)
        if isinstance(seen, Refusal):
            return json_answer(seen.status, seen.body)
        return json_answer(200, seen.text)


def _seen_by(whole: Whole, show: Callable[[Seen], Response]) -> Page:
    async def page() -> Response:
        return show(await whole())

    return page


def _healthz() -> Response:
    return json_answer(200, '{"status":"alive"}\n')


def _readyz(status: str) -> Response:
    if status == "ready":
        return json_answer(200, '{"status":"ready"}\n')
    response = json_answer(503, json.dumps({"status": status}) + "\n")
    response.headers["Retry-After"] = str(ceil(RETRY_S))
    return response


def _metrics(text: str) -> Response:
    return _answer(200, CONTENT_TYPE_LATEST, text)


def json_answer(status: int, body: str) -> Response:
    """An HTTP answer in JSON; the connection ends with it."""
    return _answer(status, "application/json", body)


def refuse(status: int, code: str, message: str, **more: object) -> Response:
    """An HTTP refusal that belongs to no dialect."""
    fields = {"type": "error", "code": code, "message": message, **more}
    return json_answer(status, json.dumps(fields) + "\n")


def wrong_method(method: str, allowed: Sequence[str]) -> Response:
    """405, with the methods by which it is asked for."""
    message = f"method must be {' or '.join(allowed)}, got {method[:20]}"
    response = refuse(405, "method_not_allowed", message)
    response.headers["Allow"] = ", ".join(allowed)
    return response


def upgrade_required(path: str) -> Response:
    """426: it is a websocket, which needs a connection of its own."""
    response = refuse(426, "upgrade_required", f"{path} is a websocket")
    response.headers["Upgrade"] = "websocket"
    return response


def not_found(path: str, paths: list[str]) -> Response:
    """404, with what there is."""
    message = f"there is nothing at {path[:80]}: see paths"
    return refuse(404, "not_found", message, paths=paths)


def _answer(status: int, kind: str, text: str) -> Response:
    body = text.encode()
    headers = Headers(
        [
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
            ("Content-Type", kind),
            ("Cache-Control", "no-store"),
        ]
    )
    return Response(status, HTTPStatus(status).phrase, headers, body)
