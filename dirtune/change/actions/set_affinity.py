"""Set which CPUs may take an interrupt."""

import errno
import shlex
from typing import TYPE_CHECKING, Self

import msgspec

from dirtune.change import kernel_text
from dirtune.change.action import Action, Saved
from dirtune.change.boot_files import SCRIPT, Row, Unwritable
from dirtune.change.expected import require, text
from dirtune.collect.interrupts import SOURCE, parse_interrupts
from dirtune.competitors import competitors
from dirtune.cpu_sets import format_cpulist, parse_cpulist
from dirtune.errors import ApplyError, ParseError, SourceMissing
from dirtune.host import Host, WritableHost, literal, recorded_text
from dirtune.settings import written

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot


# kernel/irq/proc.c, write_irq_affinity(): EIO, and EPERM since 2024.
_MANAGED = {errno.EIO, errno.EPERM}


class SetAffinity(Action, frozen=True, tag="affinity"):
    """Set which CPUs may take an interrupt, and check that it goes to no other CPU."""

    irq: str
    before: str
    """The list of CPUs when the plan was made, as the kernel prints it."""
    after: str
    action: str = ""
    """The name of the handler's folder in /proc/irq/N; it identifies the interrupt after a boot.
    """

    @property
    def path(self) -> str:
        """The kernel file that holds the CPUs of the interrupt."""
        return f"/proc/irq/{self.irq}/smp_affinity_list"

    @property
    def commands(self) -> tuple[str, ...]:
        return (written(self.path, self.after),)

    @property
    def kept(self) -> tuple[Row, ...] | Unwritable:
        name = self.action
        if not name.isprintable() or "/" in name or name in {"", ".", ".."}:
            return Unwritable(name, SCRIPT)
        # The number may change at a boot; the name does not. A folder's name is used, because a
        # handler may have the name of a file that every interrupt has.
        loop = f"for irq in /proc/irq/[0-9]*/{shlex.quote(name)}/; do echo "
        return (Row(SCRIPT, loop, self.after, ' > "${irq%/*/}/smp_affinity_list"; done'),)

    @property
    def targets(self) -> frozenset[str]:
        return frozenset({self.path})

    def touched(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    def suspects(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return competitors(snapshot, "irq")

    @property
    def needless(self) -> bool:
        return self.before == self.after

    def save(self, host: WritableHost) -> Saved:
        saved = kernel_text.save(self.path, self.before, host)
        if not self._still_its_number(host):
            raise ApplyError(
                f"{self.path} may belong to another interrupt now: its handler {self.action} is "
                "gone. Make a new plan."
            )
        return saved

    def make(self, host: WritableHost) -> None:
        try:
            host.write(self.path, self.after)
        except ApplyError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in _MANAGED:
                raise ApplyError(
                    f"irq {self.irq} cannot be moved, because the kernel manages its CPUs "
                    f"({cause.strerror}). Change the number of the NIC's queues instead."
                ) from error
            raise

    def require_made(self, saved: Saved, host: Host) -> None:
        require(self.path, host.read(self.path).strip(), self.after)
        strayed = self._strayed(host)
        if strayed:
            raise ApplyError(
                f"irq {self.irq} still goes to CPU {strayed}, but should go to {self.after} only"
            )

    def undo(self, saved: Saved, host: WritableHost) -> None:
        if self._still_its_number(host):
            kernel_text.restore(self.path, saved, host)
            return
        # After a boot its number may be different, and the row in `kept` has moved that interrupt.
        for folder in self._folders(host):
            path = f"{folder.rpartition('/')[0]}/smp_affinity_list"
            if (text(host, path) or "").strip() == self.after:
                kernel_text.restore(path, saved, host)

    def as_now(self, saved: Saved, host: Host) -> Self:
        """Return the action with the present number of its interrupt, if the name is unique."""
        if self._still_its_number(host) or len(folders := self._folders(host)) != 1:
            return self
        return msgspec.structs.replace(self, irq=folders[0].split("/")[3])

    def _folders(self, host: Host) -> tuple[str, ...]:
        return host.glob(f"/proc/irq/*/{literal(self.action)}") if self.action else ()

    def _still_its_number(self, host: Host) -> bool:
        """Whether the number still belongs to this interrupt; a boot may change the numbers."""
        if not self.action:
            return bool(host.glob(literal(self.path)))
        # The kernel makes no folder for a name with a slash, and renames none when an interface
        # that is up is renamed. A name that is recorded with escapes is only in the table.
        if host.glob(literal(f"/proc/irq/{self.irq}/{self.action}")):
            return True
        try:
            line = parse_interrupts(recorded_text(host.read(SOURCE))).line(self.irq)
        except (SourceMissing, ParseError):
            return False
        return line is not None and self.action in line.actions

    def _strayed(self, host: Host) -> str:
        """Return the list of CPUs that wrongly receive the interrupt; empty if none do.

        The result is also empty for an idle line, and on an old kernel that does not report which
        CPU receives an interrupt. A line that moves only with its next interrupt already reports
        the new CPU.
        """
        effective = text(host, f"/proc/irq/{self.irq}/effective_affinity_list") or ""
        return format_cpulist({*parse_cpulist(effective)} - {*parse_cpulist(self.after)})
