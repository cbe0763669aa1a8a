"""Types for the result of a check that requests to a VIP reach every real server."""

import msgspec


class Reach(msgspec.Struct, frozen=True):
    """The result of test requests to a virtual service (`dirtune/lvs-check/1`)."""

    service: str
    servers: dict[str, str | None]
    """Each real server that received a request, with its problem; None if the real server
    answered."""
    untold: tuple[str, ...]
    """Real servers that, as far as dirtune knows, received no request."""
    requests: int
    past: int
    """Number of answered requests that did not go through any destination of the director."""
    lost: int = 0
    """Number of unanswered requests that, as far as dirtune knows, no destination received."""
    schema: str = "dirtune/lvs-check/1"

    @property
    def whole(self) -> bool:
        """Whether every request was answered, and its answer came through the director."""
        return not (self.past or self.lost) and all(why is None for why in self.servers.values())
