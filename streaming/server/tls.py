"""TLS in process: a certificate that is read again under open connections.

A new certificate holds for handshakes from then on; connections that are open keep
what they began with. TLS 1.2 at least.
"""

from __future__ import annotations

import ssl
from typing import Any

from streaming.errors import ConfigError

__all__ = ["Certificate"]


class Certificate:
    """The certificate of a port, or that it has none.

    Args:
        certificate: PEM file of it and its chain; None: the port speaks no TLS.
        key: PEM file of its private key; None: it is in the same file.

    Raises:
        ConfigError: they cannot be read, or do not belong together.
    """

    def __init__(self, certificate: str | None, key: str | None) -> None:
        self._certificate, self._key = certificate, key
        self.reload()

    def reload(self) -> None:
        """Read the files again; what held holds where that fails.

        Raises:
            ConfigError: they cannot be read, or do not belong together.
        """
        if self._certificate is not None:
            self._held = _read(self._certificate, self._key)

    def options(self, handshake_timeout_s: float) -> dict[str, Any]:
        """What makes an asyncio server speak TLS, where it does."""
        if self._certificate is None:
            return {}
        port = _read(self._certificate, self._key)
        # Called for clients that name no server too. A fresh context each time, since
        # one into which an EC key is loaded after an RSA key goes on to serve both.
        port.sni_callback = self._choose
        return {"ssl": port, "ssl_handshake_timeout": handshake_timeout_s}

    def _choose(self, connection: ssl.SSLObject, *_: object) -> None:
        connection.context = self._held


def _read(certificate: str, key: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    files = certificate if key is None else f"{certificate} and {key}"
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        why = (error.reason or str(error)).lower().replace("_", " ")
        raise ConfigError(f"no certificate and key in {files}: {why}") from None
    except OSError as error:
        raise ConfigError(f"cannot read {files}: {error.strerror}") from None
    return context


def _no_password() -> str:
    # The library would ask for it on the terminal, at each reload.
    raise ConfigError("the private key is locked by a password: store it without one")
