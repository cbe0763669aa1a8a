"""A small machine below a directory: PCI functions, drivers and interrupt lines that behave."""

from pathlib import Path

from dirtune.errors import ApplyError
from dirtune.host import WritableHost

NIC = "0000:00:10.0"
SMBUS = "0000:00:1f.3"
SCSI = "0000:00:14.0"
SCSI2 = "0000:00:15.0"
# What is on irq 10, in the order of registration, by function.
LINE = {SMBUS: "i801_smbus", SCSI: "sym53c8xx", SCSI2: "sym53c8xx", NIC: "enp0s16"}
DRIVER = {SMBUS: "i801_smbus", SCSI: "sym53c8xx", SCSI2: "sym53c8xx", NIC: "e1000"}
CLASS = {SMBUS: "0x0c0500", SCSI: "0x010000", SCSI2: "0x010000", NIC: "0x020000"}
MOUNTINFO = "22 1 0:20 / / rw - 9p root rw\n"
SWAPS = "Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n"


class Machine(WritableHost):
    """Moves driver links and interrupt handlers on bind and unbind, as sysfs does."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root
        self.ran = []

    def write(self, path, value):
        before, _, verb = path.rpartition("/")
        if verb not in {"bind", "unbind"}:
            super().write(path, value)
            return
        driver = before.rpartition("/")[2]
        link = self.root / f"sys/bus/pci/devices/{value}/driver"
        if link.is_symlink() is (verb == "bind"):
            raise ApplyError(f"{path}: No such device")
        handlers = self.handlers()
        name = LINE[value]
        if verb == "bind":
            bind(self.root, value, driver)
            handlers.append(name)
        else:
            link.unlink()
            (self.root / f"sys/bus/pci/drivers/{driver}/{value}").unlink()
            handlers.remove(name)
        put_line(self.root, handlers)

    def run(self, argv, *, timeout_s=300):
        self.ran.append(tuple(argv))
        return ""

    def handlers(self):
        row = (self.root / "proc/interrupts").read_text().splitlines()[1]
        return row.split("XT-PIC", 1)[1].strip().split(", ")


def put_line(root, handlers):
    text = f"           CPU0\n 10:         42    XT-PIC      {', '.join(handlers)}\n"
    (root / "proc/interrupts").write_text(text)


def bind(root, device, driver):
    link = root / f"sys/bus/pci/devices/{device}/driver"
    link.symlink_to(f"../../../../bus/pci/drivers/{driver}")
    (root / f"sys/bus/pci/drivers/{driver}/{device}").symlink_to(f"../../devices/{device}")


def build(root):
    """Make the machine's files; the NIC shares irq 10 with three controllers."""
    for device, driver in DRIVER.items():
        folder = root / f"sys/bus/pci/devices/{device}"
        folder.mkdir(parents=True)
        (folder / "class").write_text(f"{CLASS[device]}\n")
        (folder / "irq").write_text("10\n")
        (root / f"sys/bus/pci/drivers/{driver}").mkdir(parents=True, exist_ok=True)
        bind(root, device, driver)
    (root / "sys/class/net").mkdir(parents=True)
    (root / "sys/class/net/enp0s16").symlink_to(f"../../devices/pci0000:00/{NIC}/net/enp0s16")
    (root / "proc/self").mkdir(parents=True)
    put_line(root, list(LINE.values()))
    (root / "proc/cmdline").write_text("root=/dev/sda1 noapic quiet\n")
    (root / "proc/self/mountinfo").write_text(MOUNTINFO)
    (root / "proc/swaps").write_text(SWAPS)
    (root / "etc/grub.d").mkdir(parents=True)
    (root / "etc/default/grub.d").mkdir(parents=True)
    return Machine(root)


def picture(root):
    """Return every file and link below *root*, to the byte, with its mode."""
    found = {}
    for path in sorted(Path(root).rglob("*")):
        if path.is_symlink():
            found[str(path)] = str(path.readlink())
        elif path.is_file():
            found[str(path)] = (path.read_bytes(), path.stat().st_mode)
    return found
