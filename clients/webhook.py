"""Records to somebody's web server: signed, in order, tried again.

A POST carries up to a hundred records, `{"records":[...]}`, signed as standardwebhooks
.com has it: `webhook-id` (the same when it is tried again), `webhook-timestamp` and
`webhook-signature`, an HMAC-SHA256 over `id.timestamp.body`. Waits between attempts
double and are drawn evenly below that bound.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from clients.delivery import Record
from clients.errors import CannotConnect

__all__ = ["Answer", "Webhook", "post", "signature"]

# What passes; every other answer will be the same next time.
AGAIN = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a web server said.

    Attributes:
        status: of HTTP; 0 where nobody answered.
        retry_after_s: when it wants to be asked again.
    """

    status: int
    retry_after_s: float | None = None


def signature(secret: bytes, identity: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = f"{identity}.{timestamp}.".encode() + body
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def post(url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
    """Post once; redirects are not followed, as they lose the body."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, body, dict(headers))
        response = connection.getresponse()
        response.read(65_536)
        after = response.headers.get("Retry-After", "")
        return Answer(response.status, float(after) if after.isdecimal() else None)
    except (OSError, http.client.HTTPException):
        return Answer(0)
    finally:
        connection.close()


@dataclass(slots=True)
class Webhook:
    """A receiver of records.

    Attributes:
        url: `https://` or `http://`.
        secret: shared with who receives; `whsec_` and base64, or any text. Empty: not
            signed.
        first_s: bound of the first wait.
        most_s: bound of any.
        patience_s: records that could not be delivered for so long are given up.
        timeout_s: of one attempt.
        send: posts once.
        clock: seconds since the epoch.
        chance: draws the waits.
        attempts: posts so far.
        given_up: records that were not delivered.
        last_status: what the last attempt was answered.
    """

    url: str
    secret: str = ""
    first_s: float = 0.5
    most_s: float = 60.0
    patience_s: float = 3_600.0
    timeout_s: float = 10.0
    send: Callable[[str, Mapping[str, str], bytes, float], Answer] = post
    clock: Callable[[], float] = time.time
    chance: random.Random = field(default_factory=random.Random)
    attempts: int = 0
    given_up: int = 0
    last_status: int | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CannotConnect(f"not a web address: {self.url!r}")

    def take(self, records: Sequence[Record], stop: threading.Event) -> int:
        """Post them until they are taken; see `Receiver.take`."""
        body = json.dumps({"records": list(records)}, ensure_ascii=False).encode()
        identity = f"msg_{uuid.uuid4().hex}"
        bound, until = self.first_s, self.clock() + self.patience_s
        while True:
            answer = self._post(identity, body)
            if 200 <= answer.status < 300:
                return 0
            passing = answer.status == 0 or answer.status in AGAIN
            wait_s = max(self.chance.uniform(0, bound), answer.retry_after_s or 0.0)
            bound = min(self.most_s, 2 * bound)
            if not passing or self.clock() + wait_s > until or stop.wait(wait_s):
                self.given_up += len(records)
                return len(records)

    def _post(self, identity: str, body: bytes) -> Answer:
        # Signed anew each time: receivers refuse what is older than some minutes.
        timestamp = int(self.clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "wavestitch",
            "webhook-id": identity,
            "webhook-timestamp": str(timestamp),
        }
        if self.secret:
            headers["webhook-signature"] = signature(
                _key(self.secret), identity, timestamp, body
            )
        answer = self.send(self.url, headers, body, self.timeout_s)
        self.attempts += 1
        self.last_status = answer.status
        return answer

    def close(self) -> None:
        """Nothing is kept open between posts."""


def _key(secret: str) -> bytes:
    prefix = "whsec_"
    if secret.startswith(prefix):
        return base64.b64decode(secret[len(prefix) :])
    return secret.encode()
