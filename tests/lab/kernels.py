"""Debian's kernels of other releases, fetched for tests without changing this machine.

apt keeps its lists and packages in a folder of the tests, and reads a source list of its own. A
lab boots such a kernel in a mount namespace whose /boot and /lib/modules have only that kernel.
"""

import re
import shutil
import subprocess

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
ROOTS = ("/boot", "/lib/modules")


def fetched(suite, folder):
    """Fetch the kernel of *suite*. Return the words before a command that see only this kernel."""
    root = folder / suite
    if not (root / "complete").exists():
        _fetch(suite, root)
    mounts = " && ".join(f"mount --bind {root}{path} {path}" for path in ROOTS)
    return ("unshare", "-m", "sh", "-c", f'{mounts} && exec "$@"', "sh")


def _fetch(suite, root):
    for name in ("state/lists/partial", "cache/archives/partial", *(r.strip("/") for r in ROOTS)):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    (root / "sources").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n")
    _apt(root, "apt-get", "-q", "update")
    image, *_ = _needed(_apt(root, "apt-cache", "show", "linux-image-amd64"))
    parts = _needed(_apt(root, "apt-cache", "show", image))
    _apt(root, "apt-get", "-q", "download", image, *parts)
    for package in root.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, root], check=True)
        package.unlink()
    modules = root / "usr/lib/modules"  # where newer packages have them
    if modules.exists():
        (root / "lib/modules").rmdir()
        modules.rename(root / "lib/modules")
    (modules,) = (root / "lib/modules").iterdir()
    subprocess.run(["depmod", "-b", root, modules.name], check=True)
    image = root / f"boot/vmlinuz-{modules.name}"
    if not image.exists():
        shutil.copy(modules / "vmlinuz", image)
    (root / "complete").touch()


def _mirror():
    """The mirror that this machine's apt already uses for Debian."""
    argv = ("apt-get", "indextargets", "--format", "$(REPO_URI)")
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    return next(line for line in lines if line.rstrip("/").endswith("/debian"))


def _needed(text):
    """The image that a package stands for, or the parts that newer images consist of."""
    (depends,) = re.findall(r"^Depends: (.*)", text, re.MULTILINE)[:1]
    return re.findall(r"\b(linux-(?:image|base|binary|modules)-\d[^\s,]+)", depends)


def _apt(root, program, *words):
    options = {
        "Dir::State": root / "state",
        "Dir::State::status": root / "status",
        "Dir::Cache": root / "cache",
        "Dir::Etc::sourcelist": root / "sources",
        "Dir::Etc::sourceparts": "/dev/null",
        "Acquire::Check-Valid-Until": "false",  # sid's list may be weeks old
        "APT::Sandbox::User": "root",
    }
    argv = [program, *(f"-o{name}={value}" for name, value in options.items()), *words]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
