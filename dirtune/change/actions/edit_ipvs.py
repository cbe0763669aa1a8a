"""Change IPVS services from one state to another.

The action holds the complete services before and after. The undo computes its steps from the state
that the IPVS table has at that moment.
"""

from collections import Counter
from typing import TYPE_CHECKING

from dirtune.analyse.words import counted
from dirtune.change.action import Action, Saved
from dirtune.change.boot_files import Row, Unwritable
from dirtune.errors import ApplyError
from dirtune.host import Host, WritableHost
from dirtune.lvs import diff, ipvsadm, kernel
from dirtune.lvs.diff import Step, Verb
from dirtune.lvs.model import Service, Table, Timeouts

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot

_DONE = {Verb.NEW: "added", Verb.SET: "edited", Verb.DEL: "removed"}


class EditIpvs(Action, frozen=True, tag="ipvs"):
    """Change services, timeouts and sync daemons from the state *before* to *after*."""

    before: Table
    """The state of these services when the plan was made."""
    after: Table

    @property
    def title(self) -> str:
        """The effect in a few words."""
        return f"IPVS: {counts(self._steps)}"

    @property
    def commands(self) -> tuple[str, ...]:
        return tuple(map(ipvsadm.command, self._steps))

    @property
    def kept(self) -> tuple[Row, ...] | Unwritable:
        return ()  # after a boot, keepalived or ipvsadm's service sets the table, not dirtune

    @property
    def targets(self) -> frozenset[str]:
        return _named(self.before) | _named(self.after)

    def touched(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    def suspects(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    @property
    def in_network(self) -> bool:
        return True

    def save(self, host: WritableHost) -> Saved:
        # The journal has it already: it is the plan's own `before`.
        self._require(host, self.before, "changed after the plan was made")
        return Saved()

    def make(self, host: WritableHost) -> None:
        with kernel.opened(host) as ipvs:
            ipvs.carry_out(self._steps)

    def require_made(self, saved: Saved, host: Host) -> None:
        self._require(
            host,
            self.after,
            "did not take effect: the kernel or another program set another value",
        )

    def undo(self, saved: Saved, host: WritableHost) -> None:
        if not kernel.loaded(host):
            return  # the table is gone
        with kernel.opened(host) as ipvs:
            now = ipvs.read()
            ipvs.carry_out(diff.diff(diff.only(now, self._both), self.before))
        self._require(host, self.before, "changed after it was restored: another program sets it")

    def holds(self, host: Host) -> None:
        return None  # a later plan may have replaced it on purpose; `lvs plan` shows differences

    @property
    def _steps(self) -> tuple[Step, ...]:
        return diff.diff(self.before, self.after)

    @property
    def _both(self) -> Table:
        """A table with every entry of both states."""
        services = diff.by_key((*self.before.services, *self.after.services))
        return Table(tuple(services.values()), self.after.timeouts, self.after.daemons)

    def _require(self, host: Host, expected: Table, problem: str) -> None:
        with kernel.opened(host) as ipvs:
            now = diff.only(ipvs.read(), self._both)
        steps = diff.diff(now, expected)
        if steps:
            raise ApplyError(f"{steps[0].name} {problem}. Make a new plan.")


def counts(steps: tuple[Step, ...]) -> str:
    """Return in words how many entries *steps* add, edit and remove."""
    numbers = Counter((step.verb, _kind(step)) for step in steps)
    parts = (
        f"{counted(numbers[verb, kind], kind)} {_DONE[verb]}"
        for verb in Verb
        for kind in ("service", "real server", "timeout", "sync daemon")
        if numbers[verb, kind]
    )
    return ", ".join(parts) or "nothing to do"


def _kind(step: Step) -> str:
    if step.of is not None:
        return "real server"
    if isinstance(step.what, Service):
        return "service"
    return "timeout" if isinstance(step.what, Timeouts) else "sync daemon"


def _named(table: Table) -> frozenset[str]:
    daemons = (f"sync daemon {daemon.state}" for daemon in table.daemons or ())
    timeouts = () if table.timeouts is None else ("timeouts",)
    names = (*(service.name for service in table.services), *daemons, *timeouts)
    return frozenset(f"IPVS {name}" for name in names)
