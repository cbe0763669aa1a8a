"""The real servers that requests through a virtual address reach."""

import msgspec


class Reach(msgspec.Struct, frozen=True):
    """The results of the requests (`dirtune/lvs-check/1`)."""

    service: str
    servers: dict[str, str | None]
    """The real servers that received a request, with the problem; None if they answered."""
    untold: tuple[str, ...]
    """Real servers that are not known to have received a request."""
    requests: int
    past: int
    """Requests that were answered although no destination received them."""
    lost: int = 0
    """Requests without an answer that no destination is known to have received."""
    schema: str = "dirtune/lvs-check/1"

    @property
    def whole(self) -> bool:
        """Whether every request was answered through the director."""
        return not (self.past or self.lost) and all(why is None for why in self.servers.values())
