"""Unbind a PCI function from its driver."""

from dirtune.change import pci
from dirtune.change.action import Saved
from dirtune.change.boot_files import Row, Unwritable
from dirtune.collect.interrupts import read_interrupts
from dirtune.errors import ApplyError
from dirtune.host import Host, WritableHost
from dirtune.settings import written


class Unbind(pci.DriverAction, frozen=True, tag="unbind"):
    """Unbind a PCI function from its driver; the undo binds it again."""

    irq: str | None = None
    """The interrupt line that loses a handler; None if the change is not about a line."""
    handler: str | None = None
    """The handler's name in the line's row of /proc/interrupts."""

    @property
    def commands(self) -> tuple[str, ...]:
        return (written(f"{pci.DRIVERS}/{self.driver}/unbind", self.device),)

    @property
    def kept(self) -> tuple[Row, ...] | Unwritable:
        return pci.override(self.device, pci.NONE)

    def save(self, host: WritableHost) -> Saved:
        pci.require_driver(host, self.device, self.driver)
        override = pci.shown_override(host, self.device)
        return Saved(text=override, handlers=self._handlers(host))

    def make(self, host: WritableHost) -> None:
        pci.unbind(host, self.device, self.driver)

    def require_made(self, saved: Saved, host: Host) -> None:
        pci.require_driver(host, self.device, None)
        before, now = saved.handlers, self._handlers(host)
        if before is not None and now is not None and now >= before:
            raise ApplyError(
                f"{self.device} was unbound, but irq {self.irq} still has {now} handlers named "
                f"{self.handler}"
            )

    def undo(self, saved: Saved, host: WritableHost) -> None:
        if not pci.there(host, self.device):
            return
        pci.undo_override(host, self.device, pci.NONE, saved.text)
        if not pci.has(host, self.device, self.driver):
            pci.bind(host, self.device, self.driver)
        pci.require_driver(host, self.device, self.driver)

    def _handlers(self, host: Host) -> int | None:
        if self.irq is None or self.handler is None:
            return None
        line = read_interrupts(host).line(self.irq)
        return 0 if line is None else line.actions.count(self.handler)
