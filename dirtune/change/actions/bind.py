"""Bind a PCI function to a driver."""

from dirtune.change import pci
from dirtune.change.action import Saved
from dirtune.change.boot_files import Row, Unwritable
from dirtune.host import Host, WritableHost
from dirtune.settings import written


class Bind(pci.DriverAction, frozen=True, tag="bind"):
    """Bind a PCI function to a driver; the undo unbinds it."""

    @property
    def commands(self) -> tuple[str, ...]:
        return (written(f"{pci.DRIVERS}/{self.driver}/bind", self.device),)

    @property
    def kept(self) -> tuple[Row, ...] | Unwritable:
        return pci.override(self.device, self.driver)

    def save(self, host: WritableHost) -> Saved:
        pci.require_driver(host, self.device, None)
        return Saved(text=pci.shown_override(host, self.device))

    def make(self, host: WritableHost) -> None:
        pci.bind(host, self.device, self.driver)

    def require_made(self, saved: Saved, host: Host) -> None:
        pci.require_driver(host, self.device, self.driver)

    def undo(self, saved: Saved, host: WritableHost) -> None:
        if not pci.there(host, self.device):
            return
        if pci.has(host, self.device, self.driver):
            pci.unbind(host, self.device, self.driver)
        pci.undo_override(host, self.device, self.driver, saved.text)
        pci.require_driver(host, self.device, None)
