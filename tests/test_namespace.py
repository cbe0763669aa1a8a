"""--netns: the counters, settings and interfaces of a namespace, the interrupts of the host."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dirtune import archive
from dirtune.cli import main
from dirtune.errors import NotPossible
from dirtune.host import namespace
from dirtune.jobs import far_directors, namespaces, notes

REPOSITORY = Path(__file__).parents[1]
PROGRAM = (sys.executable, "-m", "dirtune")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
INSIDE = """\
ip link set lo up
ip link add inside0 type veth peer name inside1
ip addr add 198.18.7.7/32 dev inside0
ip link set inside0 up
echo 77 >/proc/sys/net/core/somaxconn
echo ready; cat
"""


@pytest.fixture
def inside():
    """Yield the id of a process in a network namespace with an interface of its own."""
    argv = ("unshare", "-n", "sh", "-ec", INSIDE)
    with subprocess.Popen(argv, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.stdin.close()


def recorded(path, *words, prefix=()):
    """Return the later sample of a snapshot that is taken with *words*."""
    argv = (*prefix, *PROGRAM, "snapshot", "-o", str(path), "--interval", "0", *words)
    subprocess.run(argv, cwd=REPOSITORY, check=True, capture_output=True)
    return archive.load(path)[1]


@needs_root
@pytest.mark.parametrize("way", ["{}", "/proc/{}/ns/net"])
def test_a_snapshot_shows_the_namespace_and_the_hosts_interrupts(tmp_path, inside, way):
    mounts = Path("/proc/self/mounts").read_text()
    sample = recorded(tmp_path / "a.tar.gz", "--netns", way.format(inside))

    names = {path.split("/")[4] for path in sample.glob("/sys/class/net/*")}
    assert names == {"lo", "inside0", "inside1"}
    assert sample.read("/proc/sys/net/core/somaxconn") == "77\n"
    assert "198.18.7.7" in sample.read("/proc/net/fib_trie")
    assert "198.18.7.7/32" in sample.read("/cmd/ip-addr")
    # The labels of the interrupts, which need no namespace to be read.
    labels = [row.split(":")[0] for row in sample.read("/proc/interrupts").splitlines()]
    host = Path("/proc/interrupts").read_text().splitlines()
    assert labels == [row.split(":")[0] for row in host]
    assert Path("/proc/self/mounts").read_text() == mounts
    assert not Path("/sys/class/net/inside0").exists()


NAMED = """\
mount -t tmpfs none /run && mkdir -p /run/netns /run/docker/netns
ip netns add blue && touch /run/docker/netns/ingress_sbox
mount --bind /run/netns/blue /run/docker/netns/ingress_sbox && umount /run/netns/blue
ip link add outside0 type veth peer name outside1
exec "$@"
"""


@needs_root
def test_a_namespace_without_a_process_is_found_by_docker_s_name(tmp_path):
    alone = ("unshare", "-m", "-n", "sh", "-ec", NAMED, "sh")
    sample = recorded(tmp_path / "a.tar.gz", "--netns", "ingress_sbox", prefix=alone)

    assert {path.split("/")[4] for path in sample.glob("/sys/class/net/*")} == {"lo"}


@needs_root
def test_the_mounts_below_sys_stay(inside):
    code = (
        "import pathlib, sys; from dirtune.host import namespace; namespace.enter(sys.argv[1]); "
        "print(pathlib.Path('/proc/self/mounts').read_text())"
    )
    argv = (sys.executable, "-c", code, str(inside))
    done = subprocess.run(argv, cwd=REPOSITORY, check=True, capture_output=True, text=True)

    def below(text):
        rows = (row.split() for row in text.splitlines())
        return {(row[1], row[2]) for row in rows if row[1:] and row[1].startswith("/sys/")}

    assert below(done.stdout) >= below(Path("/proc/self/mounts").read_text())


REFUSED = {
    "4194305": "No such file",
    "nothing-here": "No such network namespace",
    "../1": "No such network namespace",
    "..": "No such network namespace",
    "a b;c": "No such network namespace",
    "/dev/null": "not a regular file",
    "/etc/hostname": "is not a network namespace",
    "/proc/self/ns/mnt": "is not a network namespace",
    "": "No such network namespace",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_namespace_is_refused(name):
    with pytest.raises(NotPossible) as refusal:
        namespace.enter(name)

    assert REFUSED[name] in str(refusal.value)
    assert "\n" not in str(refusal.value)


@needs_root
def test_a_file_is_read_in_a_namespace_and_this_process_stays(inside):
    before = Path("/proc/self/ns/net").readlink()

    assert "inside0" in namespace.read_in(f"/proc/{inside}/ns/net", "dev", 1 << 20)
    assert namespace.read_in(f"/proc/{inside}/ns/net", "no-such-file", 1) is None
    assert namespace.read_in("/dev/null", "dev", 1) is None
    assert Path("/proc/self/ns/net").readlink() == before


@needs_root
def test_the_other_namespaces_are_listed_once(inside):
    paths = namespace.others().values()
    links = [Path(path).stat().st_ino for path in paths]

    assert Path(f"/proc/{inside}/ns/net").stat().st_ino in links
    assert len(links) == len(set(links))
    assert Path("/proc/self/ns/net").stat().st_ino not in links


SERVICES = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
FWM  00000100 rr
  -> C6120A02:0000      Masq    1      0          0
FWM  00000101 rr
"""


def test_services_elsewhere_are_named_with_the_command(monkeypatch):
    tables = {
        "/a": SERVICES,
        "/b": "\n".join(SERVICES.split("\n")[:3]),
        "/c": None,
        "/d": SERVICES,
    }
    names = {"ingress_sbox": "/a", "empty": "/b", "closed": "/c", "12": "/d"}
    monkeypatch.setattr(namespaces.reading, "exists", lambda _: True)
    monkeypatch.setattr(namespace, "others", lambda: names)
    monkeypatch.setattr(namespace, "read_in", lambda path, *_: tables[path])
    heard = []
    monkeypatch.setattr(notes, "warning", heard.append)

    namespaces.warn_of_services_elsewhere()

    assert [text.split("Look there: ")[1] for text in heard] == [
        "dirtune audit --netns ingress_sbox",
        "dirtune audit --netns 12",
    ]
    assert all(text.startswith("2 IPVS services are in the network namespace") for text in heard)


def test_without_ipvs_no_namespace_is_entered(monkeypatch):
    monkeypatch.setattr(namespaces.reading, "exists", lambda _: False)
    monkeypatch.setattr(namespace, "others", lambda: 1 / 0)

    namespaces.warn_of_services_elsewhere()


def test_netns_goes_with_no_other_source():
    for words in (("audit", "--host", "lb1"), ("irqs", "--root", "/x"), ("lvs", "export", "p")):
        done = CliRunner().invoke(main, [*words, "--netns", "1"])

        assert done.exit_code == 2
        assert "--netns names a namespace of this machine. Leave out" in done.stderr


def test_a_far_dirtune_gets_the_namespace_as_one_word(monkeypatch):
    asked = []

    class Far:
        async def ask(self, words, *_, **__):
            asked.append(words)
            raise NotPossible("enough")

    with pytest.raises(NotPossible, match="enough"):
        asyncio.run(far_directors._table(Far(), "lb1", "x; reboot"))
    assert asked == [("lvs", "show", "--netns=x; reboot")]


@needs_root
def test_namespaces_of_root_are_listed_before_those_of_users(request):
    argv = (
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "unshare",
        "-rn",
        "sh",
        "-c",
        "echo; cat",
    )
    with subprocess.Popen(argv, stdin=-1, stdout=-1) as process:
        if not process.stdout.readline():
            pytest.skip("users may not make namespaces on this machine")
        inside = request.getfixturevalue("inside")

        listed = list(namespace.others())

        assert listed.index(str(inside)) < listed.index(str(process.pid))
        process.stdin.close()
