"""Whatever a host's interfaces are called: nothing of it is run, and nothing of it is lost."""

import asyncio
import json
import os
import shutil
import subprocess
import sys

import pytest

from dirtune.fetch import parse_sample, sample_script
from dirtune.host import LiveHost, RecordedHost, literal, readable, recorded_text
from dirtune.remote import connect
from dirtune.snapshot import patterns_of, take
from tests.hostile import CANARY, NICS, SHELLS, calls, stub, text

FIELDS = ("interfaces", "sysctls", "ethtool", "addresses", "interface_addresses", "neighbours")
ROOT = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="a network namespace needs root"
)
# Makes interfaces of these names in a network namespace of its own, then audits it twice.
IN_NAMESPACE = """
import json, subprocess, sys
from dirtune.jobs.snapshots import sample
from dirtune.fetch import sample_script
from dirtune.snapshot import patterns_of
names = [bytes.fromhex(name) for name in sys.argv[1].split(",")]
subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
for name, peer in zip(names[::2], names[1::2]):
    argv = [b"ip", b"link", b"add", b"name", name, b"type", b"veth", b"peer", b"name", peer]
    subprocess.run(argv, check=True)
for number, name in enumerate(names):
    address = b"198.18.1.%d/32" % number
    subprocess.run([b"ip", b"addr", b"add", address, b"dev", name], check=True)
here = sample(json.loads(sys.argv[2]))
there = {}
for shell in json.loads(sys.argv[3]):
    script = sample_script(patterns_of(json.loads(sys.argv[2])))
    done = subprocess.run([*shell, "-c", script], capture_output=True)
    there[shell[0]] = [done.stdout.hex(), done.stderr.decode()]
json.dump({"files": here.files, "links": here.links, "there": there}, sys.stdout)
"""


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """What an audit here and the script read of a namespace with every one of the names."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("a network namespace needs root")
    folder = tmp_path_factory.mktemp("audited")
    names = (*NICS, *(b"even",)[: len(NICS) % 2])
    argv = (",".join(name.hex() for name in names), json.dumps(FIELDS), json.dumps(SHELLS))
    done = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, "-c", IN_NAMESPACE, *argv],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(folder.glob(f"**/{CANARY}"))
    return json.loads(done.stdout)


def test_every_name_comes_through_to_the_letter(audited):
    names = {text(name) for name in NICS}

    for shell in SHELLS:
        output, complaint = audited["there"][shell[0]]
        host = parse_sample(readable(bytes.fromhex(output)))
        snapshot = take(host, FIELDS)

        assert complaint == ""
        assert names <= {interface.name for interface in snapshot.interfaces}
        assert names <= {
            name.split("/")[3] for name in snapshot.sysctls.values if "/conf/" in name
        }
        addresses = {a.address: a.interface for a in snapshot.interface_addresses}
        assert {f"198.18.1.{n}": text(name) for n, name in enumerate(NICS)}.items() <= (
            addresses.items()
        )
        assert {i.mtu for i in snapshot.interfaces if i.name in names} == {1500}


def test_the_script_loses_nothing_that_an_audit_here_reads(audited):
    for shell in SHELLS:
        host = parse_sample(readable(bytes.fromhex(audited["there"][shell[0]][0])))

        assert {p for p in audited["files"] if p.startswith(("/sys/", "/proc/sys/"))} <= {
            *host.files
        }
        assert audited["links"] == host.links


@ROOT
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_ethtool_is_given_every_name_as_one_argument(shell, tmp_path):
    """No card here has such a name: a folder stands in for /sys/class/net."""
    log = stub(tmp_path, "ethtool")
    for name in NICS:
        (tmp_path / "net" / os.fsdecode(name) / "device").mkdir(parents=True)
    (tmp_path / "cwd").mkdir()
    for other in ("ab", "x", "a1"):  # what a name that the shell expands would become
        (tmp_path / "cwd" / other).touch()
    script = sample_script(patterns_of(("ethtool",)))
    mount = 'mount --bind "$1" /sys/class/net && cd "$2" && shift 2 && exec "$@"'
    within = ("unshare", "--mount", "sh", "-c", mount, "sh", tmp_path / "net", tmp_path / "cwd")

    subprocess.run(
        (*within, *shell, "-c", script),
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        check=True,
    )

    asked = sorted(calls(log))
    options = (b"-g", b"-l", b"-c", b"-k", b"-S", b"-x")
    assert asked == sorted((o, name) for o in options for name in NICS if name != b"*")
    assert not list(tmp_path.glob(f"**/{CANARY}"))


@pytest.mark.parametrize("name", list(map(text, NICS)), ids=ascii)
def test_a_name_is_no_pattern(name, tmp_path):
    """Else undoing a change of such an interface finds nothing to undo, or another's."""
    for other in (name, "a1", "ab", "x"):
        (tmp_path / "net" / other / "queues" / "rx-0").mkdir(parents=True, exist_ok=True)
    live, tree = LiveHost(), LiveHost(tmp_path)
    recorded = RecordedHost({f"/net/{n}/queues/rx-0/x": "" for n in (name, "a1", "ab", "x")}, {})

    for host, at in (
        (live, f"{tmp_path}/net/{name}"),
        (tree, f"/net/{name}"),
        (recorded, f"/net/{name}"),
    ):
        assert host.glob(literal(at)) == (at,)
        assert host.glob(f"{literal(at)}/queues/rx-*") == (f"{at}/queues/rx-0",)


def test_a_byte_that_is_no_text_keeps_its_value_from_afar():
    async def printed():
        async with await connect("local") as node:
            return await node.run("printf 'a\\377b\\376'")

    assert asyncio.run(printed()) == "a\\xffb\\xfe"


def test_what_parts_words_in_python_alone_parts_none_in_a_record():
    odd = [c for c in map(chr, range(0x110000)) if f"a{c}b" != "".join(f"a{c}b".split())]
    odd += [c for c in map(chr, range(0x110000)) if len(f"a{c}b".splitlines()) > 1]

    for character in {*odd} - set(" \t\n"):
        kept = recorded_text(f"1: a{character}b\r\n2")
        assert kept.splitlines()[0].split()[1:] == [kept[3:].partition("\r")[0]]
