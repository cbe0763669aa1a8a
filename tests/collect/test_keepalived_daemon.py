"""Which keepalived runs here, and what it reads. Options are those of `keepalived --help`."""

import os
import shutil
import subprocess

import pytest

from dirtune.collect import keepalived, keepalived_daemon
from dirtune.errors import NotPossible
from dirtune.host import LiveHost

# proc(5): the parent is the fourth cell, the start the 22nd.
STAT = "{pid} ({name}) S {parent} {before} {pid}0 {after}\n"
ROOT_MOUNT = (
    "21 1 {} {} / rw,relatime shared:1 - ext4 /dev/vda rw\n22 21 0:20 / /proc rw - proc proc rw\n"
)
BEFORE, AFTER = " ".join("0" * 17), " ".join("0" * 30)


def process(root, pid, parent, words=(), **other):
    name, net, uid = other.get("name", "keepalived"), other.get("net", 1), other.get("uid", 0)
    folder = root / f"proc/{pid}"
    (folder / "ns").mkdir(parents=True)
    (folder / "stat").write_text(
        STAT.format(pid=pid, name=name, parent=parent, before=BEFORE, after=AFTER)
    )
    (folder / "status").write_text(f"Name:\t{name}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    (folder / "cmdline").write_bytes(b"".join(f"{w}\0".encode() for w in ("keepalived", *words)))
    (folder / "cgroup").write_text("0::/system.slice/keepalived.service\n")
    (folder / "ns/net").symlink_to(f"net:[{net}]")
    (folder / "exe").symlink_to(other.get("exe", "/usr/sbin/keepalived (deleted)"))
    (folder / "mountinfo").write_text(ROOT_MOUNT.format(*other.get("mounted", ("254:0", "/"))))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/net").symlink_to("net:[1]")
    (tmp_path / "proc/self/mountinfo").write_text(ROOT_MOUNT.format("254:0", "/"))
    return tmp_path


def test_the_main_process_is_the_one_without_a_keepalived_above_it(root):
    process(root, 70, 1, ("--dont-fork", "-D", "-f", "/etc/lb/k.conf", "--config-id=west"))
    process(root, 71, 70, name="keepalived_vrrp")
    process(root, 72, 70)
    process(root, 80, 1, net=2)  # another namespace's
    process(root, 81, 1, uid=1000)  # somebody's program of that name
    process(root, 82, 1, exe="/usr/bin/sudo")  # sudo, started through a link of that name
    process(root, 83, 1, mounted=("0:44", "/"))  # a container's
    process(root, 84, 1, mounted=("254:0", "/srv/a"))  # a container on the same disk
    process(root, 85, 1, ("-tx", "-f", "/etc/lb/k.conf"))  # tests a configuration, and ends

    found = keepalived_daemon.find(LiveHost(root))

    assert (found.pid, found.started, found.program) == (70, "700", "/usr/sbin/keepalived")
    assert (found.conf, found.config_id, found.only_vrrp) == ("/etc/lb/k.conf", "west", False)
    assert found.unit == "keepalived.service"


def test_none_and_two_are_refused(root):
    with pytest.raises(NotPossible, match=r"not running in this network namespace\. Start it"):
        keepalived_daemon.find(LiveHost(root))
    process(root, 70, 1)
    process(root, 75, 1)
    with pytest.raises(NotPossible, match="processes 70 and 75"):
        keepalived_daemon.find(LiveHost(root))


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("-f/a", "-P"), {"f": "/a", "P": ""}),
        (("-Df", "/a", "-S", "f", "-i", "x"), {"D": "", "f": "/a", "S": "f", "i": "x"}),
        (("--use-file", "/a", "--vrrp"), {"f": "/a", "P": ""}),
        (("--pid", "--use-file=/b"), {}),
        (("--namespace", "x", "--use-file=/b"), {"f": "/b"}),
        (("-f",), {"f": ""}),
        (("-tf", "-f/a"), {"t": "", "f": "/a"}),
        (("--config-test=/l",), {"t": "/l"}),
        ((), {}),
    ],
)
def test_options_are_read_as_getopt_reads_them(words, options):
    assert keepalived_daemon.parse_options(words) == options


def test_the_configuration_is_the_one_that_the_process_reads(root):
    process(root, 70, 1, ("-f", "/etc/lb/k.conf", "-i", "west"))
    for path, priority in (("etc/lb/k.conf", 7), (keepalived.PATH[1:], 8)):
        (root / path).parent.mkdir(parents=True)
        text = f"vrrp_instance A {{\n@west priority {priority}\n@lb1 priority 9\n}}\n"
        (root / path).write_text(text)

    assert keepalived.configuration(LiveHost(root)).instances[0].priority == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's keepalived is taken for one")
def test_a_process_is_found_and_known_by_its_start(tmp_path):
    program = tmp_path / "keepalived"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as running:
        try:
            found = keepalived_daemon.find(LiveHost())
            assert (found.pid, found.program) == (running.pid, str(program))
            assert keepalived_daemon.started(LiveHost(), running.pid) == found.started
            running.kill()
            os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
            assert keepalived_daemon.started(LiveHost(), running.pid) is None  # a zombie
        finally:
            running.kill()
