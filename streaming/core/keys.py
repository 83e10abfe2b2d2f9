"""API keys as they are kept: a name, a salted hash and limits, one a line.

    front-desk sha256:SALT:HASH streams=4 minutes_a_day=600

The key itself is nowhere. It has 32 random bytes, so that one round of SHA-256 hides
it as well as a slow hash would hide a password, and thousands of keys are compared
in a millisecond. Knows no files, and nothing of how a key is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest

from streaming.errors import ConfigError

__all__ = ["KEY_PREFIX", "Key", "find_key", "hash_key", "parse_keys"]

# What scanners for leaked secrets can look for.
KEY_PREFIX = "wsk_"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"sha256:([0-9a-f]{16,64}):([0-9a-f]{64})")
_LIMITS = ("streams", "minutes_a_day")
_LONGEST = 1_024  # of what is worth hashing


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is known.

    Attributes:
        name: for logs, metrics and people.
        salt: hexadecimal.
        digest: hexadecimal, of salt and key.
        streams: open audio channels that it may have at once; 0: no limit.
        minutes_a_day: audio that it may send in a day of UTC; 0: no limit.

    Raises:
        ConfigError: a name or a limit that cannot be.
    """

    name: str
    salt: str
    digest: str
    streams: int = 0
    minutes_a_day: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                "the name of a key has 1 to 64 letters, digits, '.', '-' and '_' and "
                f"begins with a letter or a digit, got {self.name!a}"
            )
        for name in _LIMITS:
            if not 0 <= (value := getattr(self, name)) <= 1_000_000:
                raise ConfigError(f"{name} must be 0 to 1000000, got {value}")

    @property
    def line(self) -> str:
        """How it stands in a file."""
        limits = [f" {n}={getattr(self, n)}" for n in _LIMITS if getattr(self, n)]
        return f"{self.name} sha256:{self.salt}:{self.digest}{''.join(limits)}"


def hash_key(key: str, salt: str) -> str:
    """Hexadecimal digest of a key; `salt` is hexadecimal too."""
    return sha256(bytes.fromhex(salt) + key.encode(errors="surrogatepass")).hexdigest()


def find_key(keys: Iterable[Key], shown: str) -> Key | None:
    """The key that was shown; None where it is none of these.

    How long this takes tells neither which nor how nearly: all are compared whole.
    """
    found = None
    if len(shown) <= _LONGEST:
        for key in keys:
            if compare_digest(hash_key(shown, key.salt), key.digest):
                found = key
    return found


def parse_keys(lines: Iterable[str], origin: str) -> tuple[Key, ...]:
    """Keys, one a line; empty lines and those that begin with `#` are left out.

    Args:
        lines: without secrets: they may be shown, hashes apart.
        origin: where they are from, for messages.

    Raises:
        ConfigError: a line that is no key, or a name that stands there twice.
    """
    keys: dict[str, Key] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            key = _parse(line.split())
            if key.name in keys:
                raise ConfigError(f"{key.name} stands there twice")
        except ConfigError as error:
            raise ConfigError(f"{origin}, key {number}: {error}") from None
        keys[key.name] = key
    return tuple(keys.values())


def _parse(words: list[str]) -> Key:
    name, *rest = words
    hashed = _HASH.fullmatch(rest[0]) if rest else None
    if hashed is None or len(hashed[1]) % 2:
        raise ConfigError(
            f"{name[:64]!a} has no hash like sha256:SALT:HASH: "
            "make lines with wavestitch keys add"
        )
    limits: dict[str, int] = {}
    for word in rest[1:]:
        limit, _, value = word.partition("=")
        if limit not in _LIMITS or not re.fullmatch(r"[0-9]{1,9}", value):
            raise ConfigError(
                f"limits of a key are {' and '.join(f'{n}=N' for n in _LIMITS)}, "
                f"got {word!a}"
            )
        limits[limit] = int(value)
    return Key(name, hashed[1], hashed[2], **limits)
