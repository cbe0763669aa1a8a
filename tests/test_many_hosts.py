"""200 hosts: one sshd that answers on 200 loopback addresses, in namespaces of its own."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.long,  # minutes: 200 hosts share this machine's CPUs
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces, so needs root"),
    pytest.mark.skipif(
        shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
        reason="OpenSSH's sshd is not installed",
    ),
]
pytest.importorskip("ansible", reason="needs the extra `fleet`")

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
HOSTS = 200
AT_ONCE = 32  # dirtune's limit of connections, and the forks that Ansible gets here
ROUNDS = -(-HOSTS // AT_ONCE)
MOST_KIB = 300 * 1024
_INSIDE = """
mount -t tmpfs none /run; mkdir /run/sshd; ip link set lo up
$(command -v sshd || echo /usr/sbin/sshd) -D -f {folder}/sshd 2>{folder}/log &
sleep 1
exec /usr/bin/env time -o {folder}/cost -f '%e %M' "$@"
"""
_PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - dirtune.director.director_audit: {{executable: {bin}/dirtune, interval: 1}}
      register: done
    - ansible.builtin.copy:
        dest: "{folder}/done-{{{{ inventory_hostname }}}}"
        content: "{{{{ ansible_facts.dirtune_audit.schema }}}}"
      delegate_to: localhost
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    for name in ("host", "user"):
        subprocess.run(
            ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name), check=True
        )
    shutil.copy(folder / "user.pub", folder / "authorized")
    (folder / "known").write_text(f"* {(folder / 'host.pub').read_text()}")
    (folder / "sshd").write_text(
        f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nStrictModes no\n"
        "PidFile none\nUsePAM no\nListenAddress 0.0.0.0:2200\nMaxStartups 500\n"
        "Subsystem sftp internal-sftp\n"
    )
    rows = (f"lb{n:03} ansible_host=127.1.0.{n}\n" for n in range(1, HOSTS + 1))
    (folder / "hosts").write_text(
        f"[lb]\n{''.join(rows)}gone ansible_host=127.1.1.1 ansible_port=1\n[lb:vars]\n"
        f"ansible_port=2200\nansible_user=root\nansible_ssh_private_key_file={folder}/user\n"
        f"ansible_ssh_common_args='-o UserKnownHostsFile={folder}/known'\n"
        f"ansible_python_interpreter={sys.executable}\n"
    )
    return folder


def measured(folder, *argv):
    """Run *argv* beside the sshd; return its output, and its seconds and KiB of memory."""
    script = _INSIDE.format(folder=folder)
    inside = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    ended = subprocess.run(
        (*inside, "sh", "-c", script, "sh", *argv),
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **{n: v for n, v in os.environ.items() if n not in {"LC_ALL", "LANG"}},
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "contrib/ansible"),
            "ANSIBLE_FORKS": str(AT_ONCE),
        },
        timeout=3000,
    )
    seconds, kib = (folder / "cost").read_text().splitlines()[-1].split()
    return ended, float(seconds), int(kib)


def require_bounds(seconds, kib, each):
    """*each* has the seconds that every host took, from its connection to its end."""
    allowed = 2 * max(each) + ROUNDS * statistics.median(each)
    print(
        f"{seconds:.0f} s; slowest host {max(each):.1f} s, median {statistics.median(each):.1f} s,"
        f" allowed {allowed:.0f} s; {kib / 1024:.0f} MB"
    )
    assert seconds <= allowed
    assert kib < MOST_KIB


def test_native(folder):
    times = folder / "times"
    timed = (
        "import time; from dirtune import remote; plain = remote.connect\n"
        "async def connect(host, **more):\n"
        "    began = time.monotonic()\n"
        "    node = await plain(host, **more)\n"
        "    close = node.close\n"
        "    async def closed():\n"
        "        await close()\n"
        f"        open({str(times)!r}, 'a').write(f'{{time.monotonic() - began}}\\n')\n"
        "    node.close = closed\n"
        "    return node\n"
        "remote.connect = connect\n"
        "from dirtune.start import main; main()\n"
    )
    words = ("audit", "-i", "hosts", "--interval", "1", "--format", "json")

    ended, seconds, kib = measured(folder, sys.executable, "-c", timed, *words)

    summary = json.loads(ended.stdout)
    assert len(summary["hosts"]) == HOSTS
    assert [lost["host"] for lost in summary["unreachable"]] == ["gone"]
    each = [float(row) for row in times.read_text().splitlines()]
    assert len(each) == HOSTS
    require_bounds(seconds, kib, each)


def test_through_ansible(folder):
    (folder / "play.yml").write_text(_PLAY.format(bin=BIN, folder=folder))

    ended, seconds, kib = measured(
        folder, BIN / "ansible-playbook", "-i", "hosts", "--limit", "!gone", "play.yml"
    )

    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    assert len(list(folder.glob("done-*"))) == HOSTS
    print(f"{seconds:.0f} s; {kib / 1024:.0f} MB")
    assert kib < MOST_KIB
