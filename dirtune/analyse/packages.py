"""The command that installs what a probe needs, in the words of each distribution. Pure."""

import re
import shlex

_INSTALL = {
    "apt": "apt install",
    "dnf": "dnf install",
    "zypper": "zypper install",
    "apk": "apk add",
}
_FAMILIES = {
    "debian": "apt",
    "ubuntu": "apt",
    "fedora": "dnf",
    "rhel": "dnf",
    "centos": "dnf",
    "suse": "zypper",
    "opensuse": "zypper",
    "alpine": "apk",
}
_PACKAGES = {
    "libbpf": {"apt": "libbpf1", "dnf": "libbpf", "zypper": "libbpf1", "apk": "libbpf"},
    "bcc": {
        "apt": "python3-bpfcc",
        "dnf": "python3-bcc",
        "zypper": "python3-bcc",
        "apk": "py3-bcc",
    },
    "headers": {
        "apt": "linux-headers-{release}",
        "dnf": "kernel-devel-{release}",
        "zypper": "kernel-default-devel",
        "apk": "linux-lts-dev",
    },
}


def installer(os_release: str | None) -> str:
    """Return the package manager of the distribution that /etc/os-release describes.

    The text is a list of shell assignments (os-release(5)). An unknown distribution has `apt`.
    """
    words: list[str] = []
    for key in ("ID", "ID_LIKE"):
        row = re.search(rf"^{key}=[\"']?([\w .-]*)", os_release or "", re.MULTILINE)
        words += row[1].split() if row else []
    return next((_FAMILIES[word] for word in words if word in _FAMILIES), "apt")


def install(manager: str, package: str, release: str) -> str:
    """Return the command that installs *package*: `libbpf`, `bcc` or `headers`.

    *release* is the running kernel's, whose headers are meant.
    """
    name = _PACKAGES[package][manager].format(release=release)
    return f"{_INSTALL[manager]} {shlex.quote(name)}"
