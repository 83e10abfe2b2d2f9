"""Records reach a strict web server: signed, once, in order, whatever it answers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from clients.delivery import Delivery
from clients.errors import CannotConnect
from clients.webhook import Answer, Webhook, signature

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


class Strict:
    """A receiver as standardwebhooks.com wants it; answers from a list, then 204."""

    def __init__(self, answers=()):
        self.answers, self.refused = list(answers), []
        self.records, self.seen, self.attempts = [], set(), []
        self.hold = threading.Event()
        self.hold.set()

    def answer(self, headers, body):
        identity, stamp = headers["webhook-id"], headers["webhook-timestamp"]
        signed = f"{identity}.{stamp}.".encode() + body
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        if headers["webhook-signature"] != f"v1,{expected}":
            self.refused.append("signature")
            return 401
        if abs(time.time() - int(stamp)) > 300 or headers["Content-Type"] != (
            "application/json"
        ):
            self.refused.append("headers")
            return 400
        self.attempts.append(identity)
        status = self.answers.pop(0) if self.answers else 204
        if status > 204:
            return status
        if identity not in self.seen:
            self.seen.add(identity)
            self.records += json.loads(body)["records"]
        return status


@contextmanager
def served(strict):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            strict.hold.wait(10)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = strict.answer(self.headers, body)
            if status == 0:  # taken, and the answer lost on the way
                self.connection.close()
                return
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/calls?from=test"
    finally:
        strict.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


RECORDS = [{"type": "final", "n": n, "text": "größer"} for n in range(250)]


@pytest.mark.parametrize("answers", [[], [503, 500, 429], [408, 0, 502]])
def test_every_record_arrives_once_and_in_order(answers):
    strict = Strict(answers)
    with served(strict) as url:
        delivery = Delivery(Webhook(url, SECRET, first_s=0.001, most_s=0.002))
        for record in RECORDS:
            delivery.put(record)
        delivery.close(20.0)

    assert RECORDS == strict.records
    assert ([], 0) == (strict.refused, delivery.lost)
    assert len(answers) == len(strict.attempts) - len(strict.seen)


def test_who_tells_never_waits_for_a_server_that_hangs():
    strict = Strict()
    strict.hold.clear()
    with served(strict) as url:
        delivery = Delivery(Webhook(url, SECRET))
        began = time.perf_counter()
        for record in RECORDS:
            delivery.put(record)
        took_s = time.perf_counter() - began
        strict.hold.set()
        delivery.close(20.0)

    assert RECORDS == strict.records
    assert took_s < 1.0  # a server's answer took ten


def test_what_is_refused_for_good_is_given_up_and_told():
    strict = Strict([400])
    with served(strict) as url:
        webhook = Webhook(url, SECRET)
        lost = webhook.take(RECORDS[:3], threading.Event())
        delivery = Delivery(webhook)
        delivery.put(RECORDS[3])
        delivery.close(20.0)

    assert (3, 3) == (lost, webhook.given_up)
    assert RECORDS[3:4] == strict.records


def test_waits_double_are_drawn_and_heed_retry_after():
    now, waits = 1_000.0, []

    class Stop(threading.Event):
        def wait(self, timeout=None):
            nonlocal now
            waits.append(timeout)
            now += timeout
            return False

    answers = [Answer(0), Answer(503), Answer(503, 7.0), *[Answer(500)] * 60]
    webhook = Webhook(
        "http://127.0.0.1:1",
        first_s=1.0,
        most_s=8.0,
        patience_s=120.0,
        send=lambda *_: answers.pop(0),
        clock=lambda: now,
        chance=random.Random(1),
    )

    assert 1 == webhook.take([{"type": "final"}], Stop())
    bounds = [1, 2, 7, 8, 8, 8]
    assert all(wait <= bound for wait, bound in zip(waits, bounds, strict=False))
    assert 7.0 == waits[2]
    assert len(set(waits)) == len(waits)
    assert 120 >= sum(waits) > 100


def test_the_signature_is_that_of_the_standard():
    # The example of the specification's reference implementations.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'

    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    identity = "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert expected == signature(key, identity, 1_614_265_330, body)


def test_an_address_of_no_web_server_is_refused():
    with pytest.raises(CannotConnect, match="ftp"):
        Webhook("ftp://127.0.0.1/")
