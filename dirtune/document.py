"""JSON documents that dirtune wrote: their schema is looked at before anything else of them."""

from collections.abc import Collection

import msgspec

from dirtune import __version__


class _Head(msgspec.Struct):
    schema: str
    version: str = ""


_HEAD = msgspec.json.Decoder(_Head)


def foreign(text: bytes | str, known: Collection[str]) -> str | None:
    """Return why this dirtune cannot read *text*; None if its schema is one of the *known*.

    `msgspec.DecodeError` if it is no document at all.
    """
    head = _HEAD.decode(text)
    if head.schema in known:
        return None
    writer = f"dirtune {head.version}" if head.version else "another version of dirtune"
    return (
        f"has the schema {head.schema}, written by {writer}; dirtune {__version__} "
        f"reads {' and '.join(known)}. Use the version that wrote it."
    )
