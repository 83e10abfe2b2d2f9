"""Who may use the server: who shows a key or a token, or anyone where all may.

Decides over one request at a time by what it carries. What the keys may do and have
done is in `core/`; the files are in `keyring.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from streaming.config import Config
from streaming.core.keys import Key, find_key
from streaming.core.tokens import Claims, Scope, is_token, sign, verify
from streaming.core.usage import Usage
from streaming.errors import ConfigError, Forbidden, LimitReached, Unauthorized
from streaming.protocols.opening import Opening
from streaming.server.keyring import read_keys, token_secret
from streaming.server.origins import check_origin, is_loopback

__all__ = ["Access", "Account", "KeyCollector"]

_ANYONE = Key("anyone", "", "")


@dataclass(frozen=True, slots=True)
class Account:
    """On which a stream is opened and sends its audio.

    Attributes:
        usage: of the key.
        clock: seconds since 1970.
    """

    usage: Usage
    clock: Callable[[], float]

    def expect_room(self, channels: int) -> None:
        """Can so many channels be opened on it?

        Raises:
            LimitReached: no.
        """
        self.usage.expect_room(channels, self.clock())

    def enter(self, channels: int) -> None:
        """They are open."""
        self.usage.enter(channels)

    def leave(self, channels: int) -> None:
        """They are closed."""
        self.usage.leave(channels)

    @contextmanager
    def taken(self, channels: int) -> Iterator[None]:
        """They are open for a block of code.

        Raises:
            LimitReached: there is no room for them.
        """
        self.expect_room(channels)
        self.enter(channels)
        try:
            yield
        finally:
            self.leave(channels)

    def spend(self, seconds: float) -> LimitReached | None:
        """So much audio came, of all channels together; not None: and it is spent."""
        now = self.clock()
        self.usage.add(seconds, now)
        return self.usage.refusal(now) if self.usage.spent(now) else None


class Access:
    """Decides over requests.

    Args:
        config: everything: where the server listens says who reaches it.
        secret: what tokens are signed with; None: that of the config.
        clock: seconds since 1970.

    Raises:
        ConfigError: keys that cannot be read, or an address that strangers reach and
            nobody needs a key for.
    """

    def __init__(
        self,
        config: Config,
        secret: bytes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config.access
        self._clock = clock
        self._keyed = bool(config.access.keys) or config.access.keys_file is not None
        self._secret = token_secret(config.access) if secret is None else secret
        self._anyone = Usage(_ANYONE)
        self._usages: dict[str, Usage] = {}
        self.reload()
        if self._keyed and not self._usages:
            raise ConfigError(
                "keys are asked for, and there is none: make one with "
                "wavestitch keys add NAME"
            )
        host = config.server.host
        if not (self._keyed or config.access.allow_anyone or is_loopback(host)):
            raise ConfigError(
                f"other machines reach {host or 'every address'}, and nobody would "
                "need a key: make one with wavestitch keys add NAME, or let everyone "
                "in with --allow-anyone"
            )

    @property
    def keyed(self) -> bool:
        """Keys are asked for."""
        return self._keyed

    @property
    def usages(self) -> tuple[Usage, ...]:
        """What each key uses."""
        return tuple(self._usages.values())

    def reload(self) -> None:
        """Read the keys again; streams that are open go on.

        Raises:
            ConfigError: they cannot be read; those that held hold on.
        """
        known, self._usages = (
            self._usages,
            {key.name: Usage(key) for key in read_keys(self._config)},
        )
        for name, usage in self._usages.items():
            if name in known:
                known[name].key = usage.key
                self._usages[name] = known[name]

    def check_origin(self, opening: Opening) -> None:
        """Refuse web pages that are not allowed.

        Raises:
            Forbidden: the page is not.
        """
        check_origin(opening.headers, self._config.origins, keyed=self._keyed)

    def admit(self, opening: Opening) -> Account:
        """On whose account streams are opened.

        Raises:
            Unauthorized: no key or token, or none of ours.
            Forbidden: the token is for something else.
        """
        usage, claims = self._known(opening)
        if claims is not None and claims.scope is not Scope.STREAM:
            raise Forbidden("the token may read a session, and open no stream")
        return Account(usage, self._clock)

    def expect_reader(self, opening: Opening, session: str, owner: Account) -> None:
        """Refuse who may not read along with a session.

        Raises:
            Unauthorized: no key or token, or none of ours.
            Forbidden: the key is another's, or the token for something else.
        """
        usage, claims = self._known(opening)
        if usage is not owner.usage:
            raise Forbidden("the session is of another key")
        if claims is not None and claims.session != session:
            raise Forbidden("the token is not for reading this session")

    def expect_key(self, opening: Opening) -> str:
        """The name of the key, for what a token is not enough for.

        Raises:
            Unauthorized: no key, or none of ours.
            Forbidden: it is a token.
        """
        usage, claims = self._known(opening)
        if claims is not None:
            raise Forbidden("this takes a key; a token is not enough")
        return usage.key.name

    def token(
        self, key: str, scope: Scope, session: str | None, life_s: int
    ) -> tuple[str, int]:
        """A token on the account of a key, and when it ends, if not with the key.

        Raises:
            Forbidden: here are no keys, so that a token would open nothing more.
        """
        if not self._keyed:
            raise Forbidden("this server has no keys, and takes no tokens")
        longest = int(self._config.max_token_s)
        expires_at = int(self._clock()) + min(life_s, longest)
        return sign(Claims(key, scope, expires_at, session), self._secret), expires_at

    def _known(self, opening: Opening) -> tuple[Usage, Claims | None]:
        if not self._keyed:
            return self._anyone, None
        shown = opening.credential()
        if shown is None:
            raise Unauthorized(
                "a key is needed: send it as Authorization: Bearer KEY, or where that "
                "cannot be set as ?access_token=KEY"
            )
        if is_token(shown):
            claims = verify(shown, self._secret, self._clock())
            if claims.key not in self._usages:
                raise Unauthorized("the key that the token was made with is no more")
            return self._usages[claims.key], claims
        key = find_key((usage.key for usage in self._usages.values()), shown)
        if key is None:
            raise Unauthorized("the key is not one of this server")
        return self._usages[key.name], None


class KeyCollector(Collector):
    """What each key uses, by its name, as it is at the scrape."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def collect(self) -> Iterator[Metric]:
        """Two families."""
        streams = GaugeMetricFamily(
            "wavestitch_key_streams_open", "Audio channels by key.", labels=["key"]
        )
        audio = CounterMetricFamily(
            "wavestitch_key_audio_seconds", "Audio received by key.", labels=["key"]
        )
        for usage in self._access.usages:
            streams.add_metric([usage.key.name], usage.streams)
            audio.add_metric([usage.key.name], usage.audio_s)
        yield from (streams, audio)

    def describe(self) -> list[Metric]:
        """Nothing beforehand."""
        return []
