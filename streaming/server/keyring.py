"""The files of keys: hashes one a line, and the secret that signs tokens.

Knows the files; what a key is, is in `core/keys.py`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from streaming.config import AccessConfig
from streaming.core.keys import KEY_PREFIX, Key, hash_key, parse_keys
from streaming.errors import ConfigError

__all__ = ["draw_key", "read_file", "read_keys", "token_secret", "write_file"]

_HEADER = """\
# Keys of wavestitch, hashed: wavestitch keys add, list and remove.
# A running server reads them again on SIGHUP.
"""
_SECRET_BYTES = 32


def read_keys(config: AccessConfig) -> tuple[Key, ...]:
    """All keys that are configured; each name once.

    Raises:
        ConfigError: a file that cannot be read, or a line that is no key.
    """
    keys = parse_keys(config.keys, "access.keys")
    if config.keys_file is not None:
        keys += read_file(Path(config.keys_file))
    names = [key.name for key in keys]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"{min(twice)} stands in access.keys and in the keys file")
    return keys


def read_file(path: Path) -> tuple[Key, ...]:
    """The keys of a file.

    Raises:
        ConfigError: it cannot be read, or a line is no key.
    """
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"there are no keys at {path}: make one with wavestitch keys add NAME"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"cannot read {path}: {why}") from None
    return parse_keys(text.splitlines(), str(path))


def write_file(path: Path, keys: Iterable[Key]) -> None:
    """Put a file of these keys in the place of the one there; only we may read it.

    Raises:
        OSError: it cannot be written.
    """
    path = path.expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    text = _HEADER + "".join(f"{key.line}\n" for key in keys)
    try:
        fresh.touch(0o600, exist_ok=False)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def draw_key(name: str, *, streams: int, minutes_a_day: int) -> tuple[str, Key]:
    """A new key: what its user gets, and what is kept.

    Raises:
        ConfigError: a name or a limit that cannot be.
    """
    text, salt = KEY_PREFIX + secrets.token_urlsafe(32), secrets.token_hex(16)
    return text, Key(name, salt, hash_key(text, salt), streams, minutes_a_day)


def token_secret(config: AccessConfig) -> bytes:
    """What tokens are signed with, made where it is not there yet.

    Without a place for it, it is drawn anew: tokens then end with the process.

    Raises:
        ConfigError: its file cannot be read or written, or is too short.
    """
    where = config.secret_file or (config.keys_file and f"{config.keys_file}.secret")
    if not where:
        return secrets.token_bytes(_SECRET_BYTES)
    path = Path(where).expanduser()
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(path, flags, 0o600), "w") as file:
            file.write(secrets.token_hex(_SECRET_BYTES) + "\n")
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(secret) < _SECRET_BYTES:
        raise ConfigError(
            f"the secret in {path} must have {_SECRET_BYTES} bytes or more, "
            f"got {len(secret)}"
        )
    return secret
