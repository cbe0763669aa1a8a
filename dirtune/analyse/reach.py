"""Which real servers a request through a virtual address reaches."""

import msgspec


class Reach(msgspec.Struct, frozen=True):
    """What came of the requests (`dirtune/lvs-check/1`)."""

    service: str
    servers: dict[str, str | None]
    """Each real server with a weight, and what is wrong with it; None if it answered."""
    requests: int
    past: int
    """Requests that were answered and that no destination got: past the director."""
    schema: str = "dirtune/lvs-check/1"

    @property
    def whole(self) -> bool:
        """Whether every real server answered, through the director."""
        return not self.past and all(why is None for why in self.servers.values())
