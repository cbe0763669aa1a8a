"""Let keepalived read its configuration again.

keepalived must reload after dirtune wrote the files, and again after an undo restored them.
Changes are undone in reverse order, so a plan holds the action twice: before the changes of the
files for the undo, and after them for the apply.
"""

import shlex
from typing import TYPE_CHECKING

from dirtune.change.action import Action, Saved
from dirtune.change.boot_files import Row, Unwritable
from dirtune.host import Host, WritableHost

if TYPE_CHECKING:
    from dirtune.snapshot import Snapshot


class ReloadKeepalived(Action, frozen=True, tag="keepalived"):
    """Reload keepalived, and wait until the IPVS table is as the file *path* describes it."""

    path: str
    config_id: str | None
    unit: str
    """The systemd service of keepalived; empty if it has none."""
    wait_s: float
    known: tuple[str, ...] = ()
    """Names of services and real servers that differ from the file already, and may stay so."""
    of_undo: bool = False
    """Whether the action acts only when it is undone."""

    @property
    def commands(self) -> tuple[str, ...]:
        if self.of_undo:
            return ()
        unit = self.unit or "keepalived.service"
        return (f"systemctl reload {shlex.quote(unit)}",)

    @property
    def kept(self) -> tuple[Row, ...] | Unwritable:
        return ()  # keepalived reads its files when it starts

    @property
    def targets(self) -> frozenset[str]:
        return frozenset()

    def touched(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    def suspects(self, snapshot: "Snapshot") -> tuple[str, ...]:
        return ()

    @property
    def silent(self) -> bool:
        return self.of_undo

    @property
    def follows(self) -> bool:
        return True

    @property
    def adds(self) -> bool:
        return True

    @property
    def late_imports(self) -> tuple[str, ...]:
        return ("dirtune.lvs.keepalived_reload",)

    def save(self, host: WritableHost) -> Saved:
        return Saved()

    def make(self, host: WritableHost) -> None:
        if not self.of_undo:
            # The watchdog of another change does not need it.
            from dirtune.lvs.keepalived_reload import reload  # noqa: PLC0415

            reload(host, self.path, self.config_id, self.known, self.wait_s)

    def require_made(self, saved: Saved, host: Host) -> None:
        pass  # `make` has read the table back

    def undo(self, saved: Saved, host: WritableHost) -> None:
        if self.of_undo:
            from dirtune.lvs.keepalived_reload import restore  # noqa: PLC0415

            restore(host, self.path, self.config_id, self.known, self.wait_s, self.unit)

    def holds(self, host: Host) -> None:
        return None  # the table changes with each health check; `lvs plan` compares it
