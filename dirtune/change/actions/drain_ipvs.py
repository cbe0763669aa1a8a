"""Wait until real servers that will be removed from the IPVS table have no active connections."""

from typing import TYPE_CHECKING

from dirtune.analyse.words import counted
from dirtune.change.action import Action, Saved
from dirtune.change.boot_files import Row, Unwritable
from dirtune.host import Host, WritableHost
from dirtune.lvs import draining
from dirtune.lvs.draining import Leaving

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot


class DrainIpvs(Action, frozen=True, tag="ipvs-drain"):
    """Wait until real servers to be removed have no active connections; the undo does nothing."""

    leaving: tuple[Leaving, ...]
    wait_s: float

    @property
    def title(self) -> str:
        """The effect in a few words."""
        servers = counted(self._number, "real server")
        return f"wait up to {self.wait_s:g} s for the connections of {servers} to end"

    @property
    def commands(self) -> tuple[str, ...]:
        return (f"# {self.title}",)

    @property
    def kept(self) -> tuple[Row, ...] | Unwritable:
        return ()

    @property
    def targets(self) -> frozenset[str]:
        return frozenset()

    def touched(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    def suspects(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    def save(self, host: WritableHost) -> Saved:
        return Saved()

    def make(self, host: WritableHost) -> None:
        draining.wait(self.leaving, self.wait_s, host)

    def require_made(self, saved: Saved, host: Host) -> None:
        pass  # the wait has no lasting effect to check

    def undo(self, saved: Saved, host: WritableHost) -> None:
        pass

    def holds(self, host: Host) -> None:
        return None

    @property
    def _number(self) -> int:
        return sum(len(each.destinations) for each in self.leaving)
