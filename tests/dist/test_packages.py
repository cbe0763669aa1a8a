"""The .deb and the .rpm install, work and go away without a trace."""

import json
import os
import shutil
import subprocess

import pytest

import dirtune

pytestmark = pytest.mark.long  # the build takes half a minute, and debootstrap as long for each root


def files(root):
    """Return all paths, but for what dpkg itself writes at each run."""
    found = set()
    for folder, folders, names in os.walk(root):
        place = os.path.relpath(folder, root)
        if place.startswith(("var/lib/dpkg", "var/log", "var/cache/man", "proc", "sys", "dev")):
            continue
        found |= {os.path.join(place, name) for name in folders + names}
    return found


@pytest.mark.parametrize("system", ["bookworm", "trixie"], indirect=True)
def test_the_deb_works_and_goes_away(system, dist):
    (deb,) = dist.glob("*.deb")
    # A minimal root excludes nothing, so the man pages are installed.
    before = files(system.root)
    shutil.copy(deb, system.root / "dirtune.deb")

    assert system("dpkg", "-i", "/dirtune.deb").returncode == 0
    version = system("dirtune", "--version").stdout
    audit = system("dirtune", "audit", "--format", "json")
    doctor = system("dirtune", "doctor")
    man = system("man", "dirtune-audit", MANPAGER="cat", MANWIDTH="80")
    completion = system(
        *("bash", "-c"),
        ". /usr/share/bash-completion/completions/dirtune;"
        "COMP_WORDS=(dirtune expl); COMP_CWORD=1; _dirtune_completion dirtune;"
        'echo "${COMPREPLY[@]}"',
    )

    assert version == f"dirtune, version {dirtune.__version__}\n"
    assert json.loads(audit.stdout)["schema"] == "dirtune/audit/1", audit.stderr
    assert "audit   yes" in doctor.stdout
    for heading in ("NAME", "EXIT STATUS", "FILES", "EXAMPLES"):
        assert f"\n{heading}\n" in man.stdout, man.stderr
    assert completion.stdout == "explain\n"
    assert list((system.root / "etc/systemd").rglob("dirtune*")) == []  # the timer is off
    assert system("dpkg", "--verify", "dirtune").stdout == ""

    assert system("dpkg", "--purge", "dirtune").returncode == 0
    (system.root / "dirtune.deb").unlink()
    assert files(system.root) - before == set()


def test_the_rpm_holds_the_same_files(dist):
    (deb,), (rpm,) = dist.glob("*.deb"), dist.glob("*.rpm")
    in_deb = subprocess.run(
        ("dpkg-deb", "-c", deb), check=True, capture_output=True, text=True
    ).stdout.splitlines()
    names = {row.split()[5].removeprefix(".") for row in in_deb if not row.startswith("d")}
    in_rpm = set(
        subprocess.run(
            ("rpm", "-qpl", rpm), check=True, capture_output=True, text=True
        ).stdout.splitlines()
    )

    assert {"/usr/bin/dirtune", "/usr/share/man/man1/dirtune-fix-plan.1.gz"} <= in_rpm
    assert {n for n in names if "/zsh/" not in n} <= in_rpm


def test_the_rpm_installs_and_goes_away(dist, tmp_path):
    (rpm,) = dist.glob("*.rpm")
    root = tmp_path / "root"
    root.mkdir()
    base = ("rpm", "--root", root, "--dbpath", "/var/lib/rpm", "--nodeps", "--noscripts")

    subprocess.run((*base, "-i", rpm), check=True, capture_output=True)
    sample = root / "etc/dirtune/dirtune.toml"
    assert sample.read_text().startswith("# Findings")
    subprocess.run((*base, "-V", "dirtune"), check=True)
    subprocess.run((*base, "-e", "dirtune"), check=True, capture_output=True)

    assert {p for p in root.rglob("*") if p.is_file() and "var/lib/rpm" not in str(p)} == set()


def test_the_bill_of_materials_names_what_the_tree_holds(dist):
    document = json.loads((dist / "dirtune.cdx.json").read_text())
    names = {row["name"] for row in document["components"]}

    assert {"cpython", "click", "msgspec", "pyroute2", "libc6", "libbpf1", "libffi8"} <= names
    assert all(row["version"] for row in document["components"])


def test_the_timer_is_off_and_the_units_are_valid(dist, tmp_path):
    (deb,) = dist.glob("*.deb")
    subprocess.run(("dpkg-deb", "-x", deb, tmp_path), check=True)

    assert list((tmp_path / "etc").rglob("*.wants")) == []
    service = (tmp_path / "usr/lib/systemd/system/dirtune-audit.service").read_text()
    assert "audit --format prometheus --output" in service
