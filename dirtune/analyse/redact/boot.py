"""Redact the kernel's command line, which may contain credentials, hosts and disks.

Options that decide how a kernel runs keep their values. All other options lose their values, and
keep their names only if the names are in public manuals.
"""

import re
from collections.abc import Callable

from dirtune.analyse.nic_drivers import NIC_DRIVERS
from dirtune.analyse.redact import vocabulary
from dirtune.collect.cmdline import parse_cmdline

_NAMED = re.compile(
    r"BOOT_IMAGE|BOOTIF|initrd|init|rdinit|root|resume|resume_offset|ip|nameserver|nfsroot|netroot"
    r"|nfsaddrs|hostname|ifname|bond|bridge|team|vlan|rd\.[a-z0-9_.]+|luks\.[a-z0-9_.]+|luks|ks"
    r"|inst\.[a-z0-9_.]+|iscsi_[a-z0-9_]+|dhcp[a-z_]*|vnc[a-z]*|systemd\.[a-z0-9_.]+|console|url"
    r"|netconsole|ds|autoinstall|preseed/[a-z]+|auto|priority|interface|locale|language|country"
    r"|keymap|LANG|vconsole\.[a-z0-9_.]+|superusers?|password|password_pbkdf2|user|username|token"
    r"|secret|key|auth|modprobe\.blacklist|module_blacklist|rd_[A-Z_]+|cryptdevice|cryptkey|zfs"
)
_MODULE_OPTION = re.compile(r"(?P<module>[a-z0-9_-]+)\.(?P<parameter>\w+)")
_MODULES = NIC_DRIVERS | {"ip_vs", "nf_conntrack", "kvm", "kvm_intel", "kvm_amd", "processor"}
_SERIAL_CONSOLE = re.compile(r"(?:tty[A-Za-z]*\d*|hvc\d|xvc\d)(?:,\d{1,7}[a-z]?\d?)?")
_NUMBER = re.compile(
    r"\d{1,8}[kKMGTsu]?(?:[-+]\d{1,8}[kKMGTsu]?)?|0x[0-9a-f]{1,8}|[0-9a-f]{1,4}(?:\.[0-7])?"
)


def options(text: str, word: Callable[[str], str], disk: Callable[[str], str | None]) -> str:
    """Return the redacted command line of a kernel.

    *word* is a function that replaces a word. *disk* is a function that returns the name of a disk
    if many machines have a disk with this name, and None if the name must be replaced.
    """
    redacted = " ".join(_option(option, word, disk) for option in parse_cmdline(text))
    return redacted + "\n" * text.endswith("\n")


def _option(option: str, word: Callable[[str], str], disk: Callable[[str], str | None]) -> str:
    name, equals, value = option.partition("=")
    if name in vocabulary.OPTIONS or _is_module(name):
        return f"{name}{equals}{_value(value, word)}"
    kept = disk(value.removeprefix("/dev/")) if value.startswith("/dev/") else None
    if name == "root" and kept:
        return f"root=/dev/{kept}"
    if name == "console" and _SERIAL_CONSOLE.fullmatch(value):
        return option
    if _NAMED.fullmatch(name):
        return f"{name}={word(value)}" if value else f"{name}{equals}"
    return f"{word(name)}={word(value)}" if value else word(name) + equals


def _is_module(name: str) -> bool:
    match = _MODULE_OPTION.fullmatch(name)
    if match is None:
        return False
    return match["module"] in _MODULES and match["parameter"] in vocabulary.PARAMETERS


def _value(value: str, word: Callable[[str], str]) -> str:
    """Return *value* with its words replaced by the function *word*.

    Numbers and the kernel's own words are kept.
    """
    parts = re.split(r"([,:;@/])", value)
    return "".join(_part(part, word) if at % 2 == 0 else part for at, part in enumerate(parts))


def _part(part: str, word: Callable[[str], str]) -> str:
    return (
        part
        if not part or _NUMBER.fullmatch(part) or part.lower() in vocabulary.OPTION_WORDS
        else word(part)
    )
