"""Write the QEMU command lines of the lab's guests, without hardware virtualisation.

virtme-ng boots an installed kernel, with this machine's root file system as a read-only root. The
director's own files are in a shared folder (`Folder.share`).
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dirtune import reading
from dirtune.analyse.doctor import no_lab_kernel
from dirtune.analyse.run import Role
from dirtune.collect.facts import VIRTME, lab_kernel, lab_kernels
from dirtune.collect.os_release import read_os_release
from dirtune.errors import LabError, NotPossible
from dirtune.host import Host, LiveHost, run
from dirtune.lab.kernel import unpacked
from dirtune.lab.spec import INSTRUCTION_SHIFT, Device, Node, Spec, mac, tap

_SERVER_MIB = 512
_NOBODY = 65534
_LARGEST_BYTES = 64 << 10
# Whatever the files themselves print is discarded.
_SOURCE = (
    'exec 3>&1 >/dev/null; for text do eval "$text"; done; '
    'printf "\\001%s %s\\002" "$GRUB_CMDLINE_LINUX" "$GRUB_CMDLINE_LINUX_DEFAULT" >&3'
)
_OPTIONS = re.compile(r"\x01([^\x01\x02]*)\x02\Z")
_BOUNDED = '"$@" 2>&1 | head -c 65536'
# Each module takes an emulated CPU about a second, because the kernel verifies its signature. No
# experiment uses these modules. The kernel's tests of its ciphers, also left out, take 12 s.
_NOT_LOADED = (
    *("kvm", "kvm_amd", "kvm_intel", "ccp", "powernow_k8", "pcc_cpufreq"),
    *("iTCO_wdt", "i6300esb", "lpc_ich", "pcspkr", "psmouse", "serio_raw", "evdev", "button"),
    *("ahci", "libahci", "sr_mod", "cdrom", "sg"),
    *("aesni_intel", "crct10dif_pclmul", "crc32_pclmul", "ghash_clmulni_intel"),
    *("sha1_ssse3", "sha256_ssse3", "sha512_ssse3"),
)


def kernel_image(kind: str, host: Host | None = None) -> Path:
    """Return the newest kernel of *kind* (standard or rt) in /boot that can run a lab.

    Raises `LabError` if there is none.
    """
    here = host or LiveHost()
    release = lab_kernel(lab_kernels(here), kind)
    if release is None:
        raise LabError(": ".join(no_lab_kernel(kind, read_os_release(here))))
    return Path(f"/boot/vmlinuz-{release}")


@dataclass(frozen=True, slots=True)
class Kernel:
    """An installed kernel, as a guest boots it."""

    image: Path
    """The image below /boot, whose version names the folder of modules."""
    unpacked: Path | None
    """The same kernel without compression; None if QEMU could not boot it directly."""


def prepared(image: Path, folder: Path) -> Kernel:
    """Unpack the kernel *image* into *folder*, unless that was done before."""
    path = folder / image.name.replace("vmlinuz", "vmlinux")
    if not path.exists():
        try:
            kernel = unpacked(image.read_bytes())
            if kernel is None:
                return Kernel(image, None)
            path.write_bytes(kernel)
        except OSError as error:
            raise LabError(f"Cannot unpack {image}: {error.strerror}.") from error
    return Kernel(image, path)


def command_line(etc: Path) -> str:
    """Return the kernel options that the grub files of the guest in *etc* currently contain.

    A shell reads the files in the same order as grub-mkconfig. The shell has no rights on this
    machine, because the guest's root user can write anything into the files.
    """
    files = (etc / "default/grub", *sorted((etc / "default/grub.d").glob("*.cfg")))
    try:
        # Links are not followed, because they would lead to files of this machine.
        own = (path for path in files if path.is_file() and path.resolve() == _unlinked(path, etc))
        texts = [reading.read_text(path, _LARGEST_BYTES) for path in own]
        shell = run(
            ("sh", "-c", _BOUNDED, "sh", *_without_rights(), "sh", "-c", _SOURCE, "sh", *texts)
        )
    except (NotPossible, OSError, UnicodeDecodeError) as error:
        raise LabError(f"Cannot read the director's grub files: {error}") from error
    if options := _OPTIONS.search(shell):
        return " ".join(options[1].split())
    silent = "one of the files makes the shell exit early"
    reason = next((row for row in reversed(shell.split("\n")) if row), silent)
    raise LabError(f"Cannot read the director's grub files: {reason[:200]}")


def _unlinked(path: Path, etc: Path) -> Path:
    """Return *path* with links resolved only above *etc*.

    If *etc* or anything on the way from *etc* to the file is a link, the result differs from the
    fully resolved path.
    """
    return etc.parent.resolve() / path.relative_to(etc.parent)


def _without_rights() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    return (
        *("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"),
        *("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
    )


def argv(
    spec: Spec,
    kernel: Kernel,
    options: str,
    share: Path,
    script: Path,
    node: Node | None = None,
) -> tuple[str, ...]:
    """Return the command that boots *node* in QEMU, by default the first director."""
    first = spec.with_role(Role.DIRECTOR)[0]
    director = node or first
    hardware = spec.scenario.lab
    devices = [("-device", _options(d)) for d in spec.scenario.devices]
    cards = spec.scenario.more_nics if director == first else ()
    more = [(f"load{n}", _options(card)) for n, card in enumerate(cards)]
    load = ",".join(
        (
            f"{hardware.nic},bus=pcie.0,addr=0x10,mac={mac(director, 'load')}",
            *((f"mq=on,vectors={2 * hardware.queues + 2}",) if hardware.queues > 1 else ()),
            *((spec.scenario.nic_options,) if spec.scenario.nic_options else ()),
        )
    )
    control = f"virtio-net-pci,bus=pcie.0,addr=0xf,mac={mac(director, 'ctl')}"
    size = (spec.cpus, spec.memory_mib)
    return (
        *_machine(director, kernel, size, share, script, options=options),
        *(_EXACT if spec.clock == "exact" else ()),
        *_nic("load", tap(director, "load"), load, hardware.queues),
        *_nic("ctl", tap(director, "ctl"), control),
        *(word for name, card in more for word in _nic(name, f"tap-{name}", card)),
        *(word for pair in devices for word in pair),
    )


# QEMU sleeps while the guest's clock is ahead of this machine's clock, and does not skip the time
# in which the guest is idle.
_EXACT = ("-icount", f"shift={INSTRUCTION_SHIFT},sleep=on,align=on")


def server_argv(node: Node, kernel: Kernel, share: Path, script: Path) -> tuple[str, ...]:
    """Return the command that boots a real server in QEMU."""
    cards = ((name, f"virtio-net-pci,mac={mac(node, name)}") for name in ("load", "ctl"))
    return (
        *_machine(node, kernel, (1, _SERVER_MIB), share, script),
        *(word for name, card in cards for word in _nic(name, tap(node, name), card)),
    )


def _machine(
    node: Node,
    kernel: Kernel,
    size: tuple[int, int],
    share: Path,
    script: Path,
    *,
    options: str = "",
) -> tuple[str, ...]:
    cpus, memory_mib = size
    return (
        *(VIRTME, "--kimg", str(kernel.image), "--mods", "auto", "--force-9p"),
        *("--disable-kvm", "--disable-microvm", "--cpus", str(cpus)),
        *("--memory", f"{memory_mib}M", "--name", node.name),
        *(word for option in options.split() for word in ("-a", option)),
        # The console shows if a guest panicked. The console is slow, so it shows only emergencies.
        *("--show-boot-console", "-a", "quiet", "-a", "loglevel=1"),
        *("-a", "cryptomgr.notests"),
        # The second option keeps udev from reading the modules that the kernel would refuse.
        *("-a", f"module_blacklist={','.join(_NOT_LOADED)}"),
        *("-a", f"modprobe.blacklist={','.join(_NOT_LOADED)}"),
        *("--script-sh", f"sh {script}", "--qemu-opts"),
        # The last -kernel is the one that QEMU boots.
        *(("-kernel", str(kernel.unpacked)) if kernel.unpacked else ()),
        *("-name", f"{node.name},debug-threads=on"),
        *("-fsdev", f"local,id=lab,path={share},security_model=passthrough,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=lab,mount_tag=lab"),
        *("-fsdev", "local,id=usr,path=/usr,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=usr,mount_tag=usr"),
    )


def _options(device: Device) -> str:
    return (
        f"{device.driver},bus=pcie.0,addr={device.addr}{device.options and ',' + device.options}"
    )


def _nic(name: str, tap: str, device: str, queues: int = 1) -> Sequence[str]:
    several = f",queues={queues}" if queues > 1 else ""
    return (
        *("-netdev", f"tap,id={name},ifname={tap},script=no,downscript=no{several}"),
        *("-device", f"{device},netdev={name}"),
    )


def rebooted(reason: str | None, console: str) -> bool:
    """Return whether a guest ended because it rebooted, and not because it panicked.

    QEMU reports the same *reason* for both; *console* is the guest's console output.
    """
    return reason == "guest-reset" and "Kernel panic" not in console


def vcpu_threads(pid: int, proc: Path = Path("/proc")) -> tuple[int, ...]:
    """Return the thread ids of the virtual CPUs of the QEMU process *pid*, in order.

    The result is empty before the threads start.
    """
    names = {path.parent.name: path.read_text() for path in proc.glob(f"{pid}/task/*/comm")}
    # With an exact clock, one thread executes all virtual CPUs.
    named = re.compile(r"(CPU \d+|ALL CPUs)/TCG")
    found = [(name, int(tid)) for tid, name in names.items() if named.match(name)]
    return tuple(tid for _, tid in sorted(found))
