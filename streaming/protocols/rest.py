"""The seam between a dialect of recordings, sent whole over HTTP, and the server.

A request becomes an order: how to hear the recording, and how to write what it
says. Sans-I/O; knows no sockets, files or sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from streaming.config import AudioFormat, StreamConfig
from streaming.errors import BadRequest
from streaming.events import Final
from streaming.protocols.adapter import Offer, Refusal
from streaming.protocols.form import Fields
from streaming.protocols.opening import Opening

__all__ = [
    "Order",
    "Page",
    "Rest",
    "Spoken",
    "Telling",
    "fitting_language",
    "heard_by",
    "text_of",
]


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a recording says.

    Attributes:
        finals: in order of their start.
        duration: seconds.
        channels: that were heard.
        sha256: of the bytes that came, in hexadecimal.
        model: what heard it.
        language: BCP 47 tag of what it hears.
        space: what stands between two words of its language.
    """

    finals: tuple[Final, ...]
    duration: float
    channels: int
    sha256: str
    model: str
    language: str
    space: str = " "


@dataclass(frozen=True, slots=True)
class Page:
    """The body of an answer."""

    kind: str
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Telling(Protocol):
    """Writes what is heard while more is heard."""

    kind: str
    """The content type."""

    def final(self, final: Final) -> str:
        """The next final, in order of time."""
        ...

    def end(self, spoken: Spoken) -> str:
        """All is heard."""
        ...

    def broken(self, error: Exception) -> str:
        """It ends here, for this."""
        ...


class Order(Protocol):
    """What one request asks for, validated."""

    @property
    def config(self) -> StreamConfig:
        """How to hear it; its audio holds where `raw` is set."""
        ...

    @property
    def raw(self) -> AudioFormat | None:
        """What its bytes mean where no container says it."""
        ...

    @property
    def mixed(self) -> bool:
        """Two channels are heard as one."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer: what is said beside it."""
        ...

    @property
    def telling(self) -> Telling | None:
        """Writes it piece by piece; None where the answer is one page."""
        ...

    def page(self, spoken: Spoken) -> Page:
        """The answer."""
        ...


@dataclass(frozen=True, slots=True)
class Rest:
    """How a dialect takes a recording.

    Attributes:
        path: where it is posted.
        form: the body is `multipart/form-data` and its fields are the parameters;
            otherwise it is the recording.
        open: what a request asks for; of a form, called once all of it is there.
            Raises `BadRequest`, which names the parameter, what came and what is
            allowed.
        refusal: says an error in its codes; the second argument is `Opening.id`.
    """

    path: str
    form: bool
    open: Callable[[Opening, Offer, Fields], Order]
    refusal: Callable[[Exception, str], Refusal]


def text_of(finals: Iterable[Final], space: str) -> str:
    """Their text, joined; they come in order of time."""
    return space.join(final.text for final in finals if final.text)


def heard_by(offer: Offer, language: str | None) -> StreamConfig:
    """How a recording is heard: as a stream that nobody watches."""
    return replace(
        offer.defaults,
        partials=False,
        words=True,
        budget_ms=60_000,
        stall_ms=60_000,  # the wire is not what its audio waits for
        language=fitting_language(offer, language),
    )


def fitting_language(offer: Offer, asked: str | None) -> str | None:
    """The offered language that fits what is asked for: `en-GB` takes `en`.

    Raises:
        BadRequest: none does.
    """
    if not asked:
        return None
    wanted = asked.lower().replace("_", "-").split("-")
    for tag in offer.languages:
        if tag.lower().split("-")[0] == wanted[0]:
            return tag
    known = " or ".join(offer.languages)
    raise BadRequest(f"language must be {known}, got {asked[:40]!r}")
