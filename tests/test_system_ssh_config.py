"""A relative Include of the system-wide ssh_config means a file in /etc/ssh, as for ssh itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SCRIPT = """
mount --bind "$1" /etc/ssh && mount -t tmpfs none /root && mkdir -m 700 /root/.ssh || exit
printf 'Host *\\n  User wrong\\n' >/root/.ssh/extra.conf
"$2" -c "$3"
ssh -G target | grep '^user '
"""
CODE = """
import subprocess
from dirtune.remote import config
way = config.way("target", None, "")
argv = [*way.argv()[:-2], "-G", "target"]
said = subprocess.run(argv, capture_output=True, text=True, timeout=10)
print(said.stderr, *(row for row in said.stdout.splitlines() if row.startswith("user ")))
print(way.with_operators_path(way.folder.name + "/system0"))
way.close()
"""
USER = "Host target\n  User right\n"


def users(tmp_path):
    """The user by dirtune's configuration, and by plain ssh, with /etc/ssh from *tmp_path*."""
    argv = ("unshare", "-m", "sh", "-c", SCRIPT, "sh", tmp_path, sys.executable, CODE)
    environ = {**os.environ, "HOME": "/root"}
    done = subprocess.run(
        argv, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout.split("\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize(
    "files",
    [
        {"ssh_config": "Include extra.conf\n", "extra.conf": USER},
        {"ssh_config": "include=d/*.conf # all\n", "d/a b.conf": USER},
        {"ssh_config": "Include /etc/ssh/d/*.conf\n", "d/a.conf": "Include x\n", "x": USER},
        {"ssh_config": "Host target\n  Include extra.conf\n", "extra.conf": "User right\n"},
        {"ssh_config": "Include absent.conf\n" + USER},
        {"ssh_config": "Include loop\n" + USER, "loop": "Include /etc/ssh/d\n", "d": USER},
    ],
    ids=["beside", "pattern", "nested", "in a host", "absent", "several"],
)
def test_a_relative_include_of_the_system_is_below_etc_ssh(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)

    own, told, plain, _ = users(tmp_path)

    assert own.split() == plain.split() == ["user", "right"]
    assert told.startswith("/etc/ssh/")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_file_that_another_user_may_write_is_not_read(tmp_path):
    (tmp_path / "ssh_config").write_text("Include extra.conf\n")
    (tmp_path / "extra.conf").write_text(USER)
    (tmp_path / "extra.conf").chmod(0o666)

    own, *_ = users(tmp_path)

    assert "right" not in own.split()
