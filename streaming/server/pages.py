"""Plain HTTP on the port of the websockets: health, readiness and metrics."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import TypeAlias

from websockets.datastructures import Headers
from websockets.http11 import Response

from streaming.config import StreamConfig
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


def wrong_method(method: str) -> Response:
    """405: everything here is asked for by GET."""
    response = refuse(
        405, "method_not_allowed", f"method must be GET, got {method[:20]}"
    )
    response.headers["Allow"] = "GET"
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
