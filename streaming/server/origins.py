"""Which web pages may use the server: its own, and those that are named.

A browser lets any page open a websocket to any address that it reaches, loopback
and the office network too, and says in `Origin` which page it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from streaming.errors import Forbidden

__all__ = ["check_origin", "is_loopback"]


def check_origin(
    headers: Mapping[str, str], allowed: Sequence[str], *, keyed: bool
) -> None:
    """Refuse the request of a page that is not allowed; no browser, no refusal.

    Args:
        headers: of the request, by lower-case name.
        allowed: origins beside the server's own; `*` for all.
        keyed: whether keys keep strangers out too.

    Raises:
        Forbidden: names the page and what to set.
    """
    origin = headers.get("origin")
    if origin is None or "*" in allowed:
        return
    page = origin.lower()
    if page in (each.lower() for each in allowed):
        return
    host = headers.get("host", "").lower()
    own = page.partition("://")[2] == host != ""
    # A page of the attacker's own name can have that name lead to this address once
    # it is loaded (DNS rebinding): only keys, or a name that cannot, help there.
    if own and (keyed or _is_fixed(host)):
        return
    raise Forbidden(
        f"pages of {origin[:80]!a} may not use this server: name them in its setting "
        "access.origins"
    )


def is_loopback(host: str) -> bool:
    """Only this machine reaches it."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_fixed(host: str) -> bool:
    """An address or `localhost`, with or without a port: nobody can redirect it."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        ip_address(name)
    except ValueError:
        return host.partition(":")[0] == "localhost"
    return True
