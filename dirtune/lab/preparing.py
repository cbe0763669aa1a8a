"""Write the files in a lab's folder, from which its nodes start."""

import os
from collections.abc import Callable
from pathlib import Path

from dirtune.analyse.run import Role
from dirtune.host import run
from dirtune.lab import pair, prefix
from dirtune.lab.boot import (
    director_boot,
    guest_server_boot,
    nginx_config,
    node_boot,
    sshd_config,
)
from dirtune.lab.plan_text import plan_text
from dirtune.lab.spec import PAGE_BYTES, Node, Spec, cpu_layout
from dirtune.lab.state import Folder

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of the machine that runs a lab, without dirtune's own programs."""
_NODE_PATH = f"{prefix.PLACE}/bin:/opt/lab:{PATH}"
_ETC = Path("/etc")
_ROOTS_ALONE = 0o700
"""The mode of folders that hold keys, the copy of /etc, journals or the files of a node."""
# The lab has no boot loader, so dirtune reads the grub drop-ins before each boot. The lab has no
# initramfs either, and the director must not write to this machine's /boot.
_TOOLS = {
    "update-grub": "#!/bin/sh\necho 'the lab reads /etc/default/grub.d at each boot'\n",
    "update-initramfs": "#!/bin/sh\necho 'the lab boots without an initramfs'\n",
}


def prepare(place: Folder, spec: Spec, say: Callable[[str], None]) -> None:
    """Write every file that the nodes of a lab with *spec* need into the folder *place*."""
    # Write the spec first, because it marks the folder as that of a lab, which may be removed
    # after a kill.
    place.write("spec", spec)
    say("installing dirtune for the nodes")
    place.opt.mkdir()
    prefix.copy(place.opt / Path(prefix.PLACE).name)
    say("writing keys and configuration")
    for path in (place.keys, place.path / "tmp"):
        path.mkdir(_ROOTS_ALONE)
    for name in ("user_key", "host_key"):
        key = place.keys / name
        run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "dirtune lab", "-f", str(key)))
    host_key = (place.keys / "host_key.pub").read_text()
    (place.keys / "known_hosts").write_text(f"dirtune-lab {host_key}")
    director_cpus, _ = cpu_layout(os.sched_getaffinity(0), spec.cpus)
    place.plan.write_text(plan_text(spec, director_cpus))
    _tools(place)
    for node in spec.nodes():
        prepare = _director if node.role == Role.DIRECTOR else _node
        prepare(place, node, spec)


def _tools(place: Folder) -> None:
    tools = place.opt / "lab"
    tools.mkdir()
    for name, text in _TOOLS.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)


def _director(place: Folder, node: Node, spec: Spec) -> None:
    share = place.node(node.name)
    share.mkdir(_ROOTS_ALONE)
    (share / "var/lib/dirtune").mkdir(parents=True)
    etc = share / "etc"
    etc.mkdir()
    run(("cp", "-a", f"{_ETC}/.", str(etc)))
    options = f"{spec.scenario.boot} {spec.append}".strip()
    drop_in = f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {options}"\n'
    files = {
        "shadow": "root:*:1::::::\n",
        "default/grub": 'GRUB_CMDLINE_LINUX=""\nGRUB_CMDLINE_LINUX_DEFAULT=""\n',
        "default/grub.d/10-lab.cfg": drop_in,
        "ssh/dirtune_lab": sshd_config(str(place.keys), _NODE_PATH),
    }
    if spec.backup:
        files[pair.CONFIGURATION.removeprefix("/etc/")] = pair.keepalived(spec, node)
    folders = ("default", "default/grub.d", "grub.d", "sysctl.d", "modprobe.d", "ssh")
    for name in (*folders, "keepalived"):
        _unlink(etc / name)
        (etc / name).mkdir(exist_ok=True)
    for name, text in files.items():
        _unlink(etc / name)
        (etc / name).write_text(text)
    place.script(node.name).write_text(director_boot(spec, node))
    run(("tar", "-cf", str(share / "opt.tar"), "-C", str(place.opt), "."))


def _unlink(path: Path) -> None:
    """Remove *path* from the copy of /etc if it is a link to a file of this machine."""
    if path.is_symlink():
        path.unlink()


def _node(place: Folder, node: Node, spec: Spec) -> None:
    own = place.node(node.name)
    own.mkdir(_ROOTS_ALONE)
    (own / "www").mkdir()
    (own / "www/index.html").write_text("x" * (PAGE_BYTES - 1) + "\n")
    boot, seen = (guest_server_boot, "/mnt") if spec.is_guest(node) else (node_boot, str(own))
    (own / "nginx.conf").write_text(nginx_config(seen))
    (own / "sshd_config").write_text(sshd_config(str(place.keys), _NODE_PATH))
    (own / "boot.sh").write_text(boot(node, spec, str(own)))
