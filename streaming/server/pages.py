"""Plain HTTP on the port of the websockets: health, readiness and metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from math import ceil

from websockets.datastructures import Headers
from websockets.http11 import Response

from streaming.config import StreamConfig
from streaming.server.metrics import CONTENT_TYPE_LATEST, Metrics
from streaming.server.standing import RETRY_S, Standing

__all__ = ["Pages", "json_answer", "not_found", "refuse", "wrong_method"]


class Pages:
    """What a GET can see."""

    def __init__(
        self, standing: Standing, metrics: Metrics, defaults: StreamConfig
    ) -> None:
        self._standing = standing
        self._metrics = metrics
        self._defaults = defaults
        self.paths: dict[str, Callable[[], Response]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics_page,
        }

    def _healthz(self) -> Response:
        return json_answer(200, '{"status":"alive"}\n')

    def _readyz(self) -> Response:
        status = self._standing.status(self._defaults)
        if status == "ready":
            return json_answer(200, '{"status":"ready"}\n')
        response = json_answer(503, json.dumps({"status": status}) + "\n")
        response.headers["Retry-After"] = str(ceil(RETRY_S))
        return response

    def _metrics_page(self) -> Response:
        return _answer(200, CONTENT_TYPE_LATEST, self._metrics.text())


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
