"""Remedies name the package manager and the packages of the system that they are for."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from dirtune.collect.facts import COMMANDS, distribution_folders
from dirtune.packages import family, install, lacks, shell_lacks
from dirtune.plan import generators

PACKAGE = Path(__file__).parents[1] / "dirtune"
# The first rows of the files in the images of these systems.
SYSTEMS = {
    "rocky8": 'NAME="Rocky Linux"\nVERSION="8.9 (Green Obsidian)"\nID="rocky"\n'
    'ID_LIKE="rhel centos fedora"\nVERSION_ID="8.9"\n',
    "rhel9": 'NAME="Red Hat Enterprise Linux"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.4"\n',
    "alma10": 'NAME="AlmaLinux"\nID="almalinux"\nID_LIKE="rhel centos fedora"\n'
    'VERSION_ID="10.0"\n',
    "oracle9": 'NAME="Oracle Linux Server"\nID="ol"\nID_LIKE="fedora"\nVERSION_ID="9.3"\n',
    "stream9": 'NAME="CentOS Stream"\nID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="9"\n',
    "ubuntu22": 'NAME="Ubuntu"\nVERSION_ID="22.04"\nID=ubuntu\nID_LIKE=debian\n',
    "ubuntu24": 'NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n',
    "debian11": 'NAME="Debian GNU/Linux"\nVERSION_ID="11"\nID=debian\n',
    "debian13": 'NAME="Debian GNU/Linux"\nVERSION_ID="13"\nID=debian\n',
    "leap": 'NAME="openSUSE Leap"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\n'
    'VERSION_ID="15.6"\n',
    "sles": 'NAME="SLES"\nVERSION_ID="15.5"\nID="sles"\nID_LIKE="suse"\n',
    "tumbleweed": 'NAME="openSUSE Tumbleweed"\nID="opensuse-tumbleweed"\n'
    'ID_LIKE="opensuse suse"\nVERSION_ID="20250101"\n',
    "alpine": 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.20.3\n',
    "arch": 'NAME="Arch Linux"\nID=arch\nBUILD_ID=rolling\n',
    "unknown": "NAME=Buildroot\nID=buildroot\nVERSION_ID=2024.02\n",
}
ONE_FILE = "Use the one file dirtune-linux-x86_64, which contains libbpf 1.0 or newer"


@pytest.mark.parametrize(
    ("system", "ssh", "libbpf"),
    [
        ("rocky8", "dnf install openssh-clients", ONE_FILE),
        ("rhel9", "dnf install openssh-clients", "dnf install libbpf"),
        ("alma10", "dnf install openssh-clients", "dnf install libbpf"),
        ("oracle9", "dnf install openssh-clients", "dnf install libbpf"),
        ("stream9", "dnf install openssh-clients", "dnf install libbpf"),
        ("ubuntu22", "apt install openssh-client", ONE_FILE),
        ("ubuntu24", "apt install openssh-client", "apt install libbpf1"),
        ("debian11", "apt install openssh-client", ONE_FILE),
        ("debian13", "apt install openssh-client", "apt install libbpf1"),
        ("leap", "zypper install openssh-clients", "zypper install libbpf1"),
        ("sles", "zypper install openssh-clients", "zypper install libbpf1"),
        ("tumbleweed", "zypper install openssh-clients", "zypper install libbpf1"),
        ("alpine", "apk add openssh-client", "apk add libbpf"),
        ("arch", "pacman -S openssh", "pacman -S libbpf"),
        (
            "unknown",
            "Install ssh with the package manager of this system",
            "Install libbpf with the package manager of this system",
        ),
    ],
)
def test_a_remedy_is_in_the_words_of_the_system(system, ssh, libbpf):
    assert install(SYSTEMS[system], "ssh") == ssh
    assert install(SYSTEMS[system], "libbpf") == libbpf


@pytest.mark.parametrize(
    ("system", "release", "headers", "modules"),
    [
        (
            "rhel9",
            "5.14.0-427.el9.x86_64",
            "dnf install kernel-devel-5.14.0-427.el9.x86_64",
            "dnf install kernel-modules-5.14.0-427.el9.x86_64",
        ),
        (
            "ubuntu24",
            "6.8.0-31-generic",
            "apt install linux-headers-6.8.0-31-generic",
            "apt install linux-modules-extra-6.8.0-31-generic",
        ),
        (
            "leap",
            "6.4.0-150600.21-default",
            "zypper install kernel-default-devel",
            "zypper install kernel-default",
        ),
        ("alpine", "6.6.32-0-virt", "apk add linux-virt-dev", "apk add linux-virt"),
    ],
)
def test_packages_of_the_kernel_are_those_of_the_running_one(system, release, headers, modules):
    assert install(SYSTEMS[system], "headers", release) == headers
    assert install(SYSTEMS[system], "modules", release) == modules


def test_nothing_of_os_release_is_part_of_a_command():
    assert family("ID=`reboot`\nID_LIKE=$(reboot)\n") is None
    assert install("ID=debian\nVERSION_ID='11;reboot'\n", "ssh") == "apt install openssh-client"
    assert install(SYSTEMS["rhel9"], "headers", "6; reboot") == (
        "dnf install 'kernel-devel-6; reboot'"
    )


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_shell_on_the_host_prints_the_same(system, shell, tmp_path):
    file = tmp_path / "os-release"
    file.write_text(SYSTEMS[system])
    for program in ("nginx", "h2load", "NPtcp", "my 'load' %s"):
        script = shell_lacks(program).replace("/etc/os-release", str(file))
        done = subprocess.run((shell, "-uc", script), capture_output=True, text=True, check=True)

        assert done.stdout == f"{lacks(SYSTEMS[system], program)}\n"
        assert done.stderr == ""


def test_without_the_file_the_remedy_names_no_package_manager(tmp_path):
    script = shell_lacks("nginx").replace("/etc/os-release", str(tmp_path / "none"))
    done = subprocess.run(("sh", "-c", script), capture_output=True, text=True, check=True)

    assert done.stdout == (
        "nginx is not installed. Install nginx with the package manager of this system\n"
    )


def test_every_program_that_a_feature_needs_has_a_package_on_debian():
    programs = {*COMMANDS, *generators.names(), "NPtcp", "keepalived"} - {"command"}

    assert all(install(SYSTEMS["debian13"], name).startswith("apt install ") for name in programs)


def test_only_the_table_knows_package_managers():
    manager = re.compile(r"\b(apt(-get)?|dnf|yum|zypper) install\b|\bapk add\b|\bpacman -S\b")
    found = {
        (path.relative_to(PACKAGE).as_posix(), node.value)
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "packages.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if manager.search(node.value)
    }

    assert found == set()


@pytest.mark.parametrize(
    "folder",
    [
        "usr/lib/python3/dist-packages",  # Debian, Ubuntu
        "usr/lib/python3.6/site-packages",  # RHEL 8
        "usr/lib/python3.9/site-packages",  # RHEL 9
        "usr/lib64/python3.11/site-packages",  # SUSE
        "usr/lib/python3.12/site-packages",  # Alpine, Arch
        "usr/local/lib/python3.13/site-packages",
    ],
)
def test_bcc_is_found_wherever_a_distribution_has_it(folder, tmp_path):
    (tmp_path / folder / "bcc").mkdir(parents=True)
    (tmp_path / "usr/lib/python3.10/site-packages").mkdir(parents=True)

    assert distribution_folders(tmp_path) == [str(tmp_path / folder)]
