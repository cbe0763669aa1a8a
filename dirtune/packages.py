"""The commands that install what dirtune needs, in the words of each distribution. Pure.

/etc/os-release names the distribution: ID, and in ID_LIKE those that it resembles (os-release(5)).
"""

import re
import shlex
from collections.abc import Iterator

_INSTALL = {
    "debian": "apt install",
    "ubuntu": "apt install",
    "rhel": "dnf install",
    "suse": "zypper install",
    "alpine": "apk add",
    "arch": "pacman -S",
}
"""The command of each family of distributions."""
_FAMILIES = {
    "debian": "debian",
    "ubuntu": "ubuntu",
    "rhel": "rhel",
    "centos": "rhel",
    "fedora": "rhel",
    "sles": "suse",
    "suse": "suse",
    "opensuse": "suse",
    "alpine": "alpine",
    "arch": "arch",
}
"""The family by a word of ID or ID_LIKE."""
_COLUMNS = ("debian", "rhel", "suse", "alpine", "arch")
# {release} is the running kernel's, and {flavour} the last part of it, such as lts.
_PACKAGES = {
    "libbpf": ("libbpf1", "libbpf", "libbpf1", "libbpf", "libbpf"),
    "bcc": ("python3-bpfcc", "python3-bcc", "python3-bcc", "py3-bcc", "python-bcc"),
    "headers": (
        "linux-headers-{release}",
        "kernel-devel-{release}",
        "kernel-{flavour}-devel",
        "linux-{flavour}-dev",
        "linux-headers",
    ),
    "modules": (
        "linux-image-{release}",
        "kernel-modules-{release}",
        "kernel-{flavour}",
        "linux-{flavour}",
        "linux",
    ),
    "standard": ("linux-image-amd64", None, None, None, None),
    "rt": ("linux-image-rt-amd64", None, None, None, None),
    "unshare": ("util-linux",) * 5,
    "nsenter": ("util-linux",) * 5,
    "ip": ("iproute2", "iproute", "iproute2", "iproute2", "iproute2"),
    "ssh": ("openssh-client", "openssh-clients", "openssh-clients", "openssh-client", "openssh"),
    "ssh-keygen": (
        "openssh-client",
        "openssh",
        "openssh-common",
        "openssh-keygen",
        "openssh",
    ),
    "sshd": ("openssh-server", "openssh-server", "openssh-server", "openssh-server", "openssh"),
    "nc": ("netcat-openbsd", "nmap-ncat", "netcat-openbsd", "netcat-openbsd", "openbsd-netcat"),
    "nginx": ("nginx-light", "nginx", "nginx", "nginx", "nginx"),
    "h2load": ("nghttp2-client", "nghttp2", "nghttp2", "nghttp2", "nghttp2"),
    "httperf": ("httperf", "httperf", None, None, None),
    "wrk": ("wrk", None, None, "wrk", "wrk"),
    "NPtcp": ("netpipe-tcp", None, None, None, None),
    "ipvsadm": ("ipvsadm",) * 5,
    "keepalived": ("keepalived",) * 5,
    "qemu-system-x86_64": (
        "qemu-system-x86",
        "qemu-system-x86-core",
        "qemu-x86",
        "qemu-system-x86_64",
        "qemu-system-x86",
    ),
    "busybox": ("busybox-static", "busybox", "busybox-static", "busybox-static", "busybox"),
    "zstd": ("zstd",) * 5,
    "modprobe": ("kmod",) * 5,
    "date": ("coreutils",) * 5,
}
"""The package of each thing in each of `_COLUMNS`; None where no package is known."""
_UBUNTU = {
    "modules": "linux-modules-extra-{release}",
    "standard": "linux-image-generic",
    "rt": None,
}
"""Ubuntu's packages that are not called as Debian's."""
_WORDS = {
    "bcc": "bcc's Python module",
    "headers": "the headers of kernel {release}",
    "modules": "the package with the modules of kernel {release}",
    "standard": "a kernel with these modules",
    "rt": "a kernel with PREEMPT_RT and these modules",
}
"""What is not called as in the table in a sentence."""
_OLD_LIBBPF = {"debian": ("11",), "ubuntu": ("20.04", "22.04"), "rhel": ("8",)}
"""The releases whose libbpf is older than 1.0, by the first part of VERSION_ID."""


def family(os_release: str | None) -> str | None:
    """Return the family of the distribution that *os_release* describes.

    It is debian, ubuntu, rhel, suse, alpine or arch; None for another distribution.
    """
    return next((_FAMILIES[word] for word in _words(os_release) if word in _FAMILIES), None)


def install(os_release: str | None, what: str, release: str = "") -> str:
    """Return the command that installs *what*, which is a name in the table.

    It is an instruction in words if the distribution or its package is unknown. *release* is the
    running kernel's.
    """
    here = family(os_release)
    if what == "libbpf" and here and _version(os_release).startswith(_OLD_LIBBPF.get(here, ())):
        return "Use the one file dirtune-linux-x86_64, which contains libbpf 1.0 or newer"
    return _install(here, what, release)


def lacks(os_release: str | None, program: str) -> str:
    """Return the sentences, without the last full stop, that say how to install *program*."""
    return _lacks(family(os_release), program)


def shell_lacks(program: str) -> str:
    """Return a shell command that prints what `lacks` returns on the host that runs it."""
    words = {name: [w for w, of in _FAMILIES.items() if of == name] for name in _INSTALL}
    cases = "".join(
        f"{'|'.join(words[name])}) {_print(_lacks(name, program))}; break;; " for name in words
    )
    # The file is a script of assignments, which the shell of the host itself reads.
    return (
        'for id in $(. /etc/os-release 2>/dev/null && echo "$ID ${ID_LIKE-}") -; do '
        f"case $id in {cases}-) {_print(_lacks(None, program))};; esac; done"
    )


def _words(os_release: str | None) -> Iterator[str]:
    for key in ("ID", "ID_LIKE"):
        row = re.search(rf"^{key}=[\"']?([\w .-]*)", os_release or "", re.MULTILINE)
        yield from row[1].split() if row else ()


def _version(os_release: str | None) -> str:
    row = re.search(r"^VERSION_ID=[\"']?([\w.]*)", os_release or "", re.MULTILINE)
    return row[1] if row else ""


def _lacks(here: str | None, program: str) -> str:
    how = _install(here, program, "")
    known = here is not None and how.startswith(_INSTALL[here])
    return f"{program} is not installed. {'Run: ' if known else ''}{how}"


def _print(text: str) -> str:
    return f"printf '%s\\n' {shlex.quote(text)}"


def _install(here: str | None, what: str, release: str) -> str:
    package = _package(here, what)
    if here is None or package is None:
        words = _WORDS.get(what, what).format(release=release)
        return f"Install {words} with the package manager of this system"
    name = package.format(release=release, flavour=release.rpartition("-")[2])
    return f"{_INSTALL[here]} {shlex.quote(name)}"


def _package(here: str | None, what: str) -> str | None:
    names = dict(zip(_COLUMNS, _PACKAGES.get(what, ()), strict=False))
    if here == "ubuntu":
        return _UBUNTU.get(what, names.get("debian"))
    return names.get(here or "")
