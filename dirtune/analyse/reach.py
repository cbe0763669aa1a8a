"""Which real servers a request through a virtual address reaches."""

import msgspec


class Reach(msgspec.Struct, frozen=True):
    """What came of the requests (`dirtune/lvs-check/1`)."""

    service: str
    servers: dict[str, str | None]
    """Each real server that was given a request, and what is wrong; None if it answered."""
    untold: tuple[str, ...]
    """Real servers that were given none that could be told from others' connections."""
    requests: int
    past: int
    """Requests that were answered and that no destination got: past the director."""
    lost: int = 0
    """Requests without an answer that no destination could be told to have got."""
    schema: str = "dirtune/lvs-check/1"

    @property
    def whole(self) -> bool:
        """Whether every request was answered, through the director."""
        return not (self.past or self.lost) and all(why is None for why in self.servers.values())
