"""Hostile files, through the program itself: one line, in bounded time and memory.

384 MiB and 10 s of a CPU are what anything below 10 MB may cost. The files are made here.
"""

import gzip
import itertools
import json
import os
import subprocess
import sys
import tarfile

import pytest

from tests.plans import plan_text

ALLOWED_KB = (384 + 50) << 10
"""The program itself takes up to 50 MiB."""
ALLOWED_CPU_S = 10
PROGRAM = (sys.executable, "-c", "from dirtune.cli import main; main()")
# A process counts the memory of the one it was forked from as its own: that must be a small one.
MEASURED = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
with open(sys.argv[1], "w") as file:
    print(process.returncode, used.ru_maxrss, used.ru_utime + used.ru_stime, file=file)
"""
META = {"schema": "dirtune/snapshot/1", "samples": [{"monotonic_s": 1.0, "refused": []}] * 2}
TABLE = "           CPU0\n 10:         40    XT-PIC      sym53c8xx, eth1\n"


def run(tmp_path, *argv):
    """Return the status and what was said on stderr; both bounds hold and no traceback is seen."""
    err, used = tmp_path / "err", tmp_path / "used"
    with err.open("wb") as stderr:
        subprocess.run(
            (sys.executable, "-c", MEASURED, used, *PROGRAM, *map(str, argv)), check=True,
            stdout=subprocess.DEVNULL, stderr=stderr, stdin=subprocess.DEVNULL,
            env=os.environ | {"DIRTUNE_STATE": str(tmp_path), "DIRTUNE_RUN": str(tmp_path)},
        )  # fmt: skip
    status, peak_kb, cpu_s = map(float, used.read_text().split())
    said = err.read_text(errors="replace")
    assert "Traceback" not in said
    assert "internal error" not in said
    assert peak_kb < ALLOWED_KB
    assert cpu_s < ALLOWED_CPU_S
    return status, said


def refused(tmp_path, *argv):
    status, said = run(tmp_path, *argv)
    assert status == 2, said
    assert len(said) < 20_000
    assert said.count("\n") == 1
    return said


def header(name, size=0, kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.USTAR_FORMAT)


def block(name, content):
    return header(name, len(content)) + content + b"\0" * (-len(content) % 512)


def empty_members():
    return (header(f"0/proc/{number}/stat") for number in range(400_000))


def long_name():
    return (header("././@LongLink", 2 << 30, tarfile.GNUTYPE_LONGNAME), *[b"x" * (1 << 20)] * 8)


def long_pax():
    return (header("x", 1 << 30, tarfile.XHDTYPE), *[b"1" * (1 << 20)] * 8)


def many_pax():
    return (part for _ in range(50_000) for part in (header("x", 2048, b"x"), b"1" * 2048))


def pax_of_short_rows():
    return (part for _ in range(16_000) for part in (header("x", 4096, b"x"), b"2 " * 2048))


def endless_names():
    return (header("x", 100, b"L") + b"x" * 512 for _ in range(400_000))


def bomb():
    return (header("0/proc/stat", 7 << 30), *[b"\0" * (1 << 20)] * 64)


def many_large():
    return (block(f"0/proc/{number}/stat", b"1\n" * (1 << 20)) for number in range(40))


def sparse():
    return (header("0/proc/stat", 512, tarfile.GNUTYPE_SPARSE), b"\0" * 512)


def deep():
    middle = "/".join("abcdefghijklmnopqrstuvwxyz" * 3)
    return (header(f"0/{number}/{middle}"[:99]) for number in range(150_000))


def deep_meta():
    return (block("meta.json", b'{"samples":' * 100_000),)


@pytest.mark.parametrize(
    "members",
    [
        *(long_name, long_pax, bomb, sparse, deep_meta, pax_of_short_rows),
        *(pytest.param(slow, marks=pytest.mark.long) for slow in (empty_members, endless_names)),
        *(pytest.param(slow, marks=pytest.mark.long) for slow in (many_pax, many_large, deep)),
    ],
)
def test_an_archive(tmp_path, members):
    with gzip.open(tmp_path / "a.tgz", "wb", compresslevel=1) as file:
        file.write(block("meta.json", json.dumps(META).encode()))
        for part in members():
            file.write(part)
        file.write(b"\0" * 1024)
    assert (tmp_path / "a.tgz").stat().st_size < 10 << 20

    assert str(tmp_path / "a.tgz") in refused(tmp_path, "audit", "--from", tmp_path / "a.tgz")


MADE_FOR_MEMORY = {"proc/cmdline": "11 ", "proc/cpuinfo": "1 1\n"}
"""Texts of which each takes a multiple of its bytes once it is parsed."""


@pytest.mark.parametrize("path", MADE_FOR_MEMORY)
@pytest.mark.parametrize("words", [("audit",), ("fix", "plan")])
def test_a_tree_with_a_text_made_for_memory(tmp_path, path, words):
    row = MADE_FOR_MEMORY[path]
    (tmp_path / "proc").mkdir()
    (tmp_path / path).write_text(row * ((31 << 20) // len(row)))

    assert "takes more than 384 MiB of memory" in refused(tmp_path, *words, "--root", tmp_path)


def test_an_archive_with_a_text_made_for_memory(tmp_path):
    with gzip.open(tmp_path / "a.tgz", "wb", compresslevel=1) as file:
        file.write(block("meta.json", json.dumps(META).encode()))
        file.write(block("0/proc/cmdline", b"11 " * (10 << 20)) + b"\0" * 1024)

    said = refused(tmp_path, "audit", "--from", tmp_path / "a.tgz")
    assert "takes more than 384 MiB of memory" in said


def test_a_table_of_very_many_interrupts(tmp_path):
    (tmp_path / "proc").mkdir()
    row = "1: 1 IO-APIC 1-edge eth0\n"
    (tmp_path / "proc/interrupts").write_text("           CPU0\n" + row * ((31 << 20) // len(row)))

    refused(tmp_path, "audit", "--root", tmp_path)


def table_of_ipvs(destinations):
    return (
        "IP Virtual Server version 1.2.1 (size=4096)\n"
        "Prot LocalAddress:Port Scheduler Flags\n"
        "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
        "TCP  0A000001:0050 rr\n"
    ) + "".join(f"  -> {0x0B000000 + n:08X}:0050 Masq 1 0 0\n" for n in range(destinations))


def test_a_service_of_very_many_real_servers(tmp_path):
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/ip_vs").write_text(table_of_ipvs(100_000))

    status, said = run(tmp_path, "audit", "--root", tmp_path)

    assert status in {0, 1}, said


def in_hooks(*rows):
    hooks = ("prerouting", "input", "forward")
    chains = (
        f"chain {hook} {{\ntype filter hook {hook} priority 0; policy accept;\n{row}\n}}\n"
        for hook, row in zip(hooks, rows, strict=False)
    )
    return f"table inet f {{\n{''.join(chains)}}}\n"


def jumps():
    names = ["forward", *(f"c{n}" for n in range(14))]
    rows = (f"-A {a} -j {b}\n" * 30 for a, b in itertools.pairwise(names))
    return f"*filter\n:forward ACCEPT [0:0]\n{''.join(rows)}COMMIT\n"


RULES = {
    "nft": {
        "rules": lambda: in_hooks(
            "", "", "\n".join(f"ip saddr 1.2.{n % 255}.0/24 drop # {n}" for n in range(200_000))
        ),
        "sets": lambda: in_hooks("", "", f"ip saddr {{ {'10.1.2.3, ' * 700_000} }} drop"),
        "braces": lambda: in_hooks("", "", f"{'tcp dport { ' * 700_000} accept"),
        "notrack": lambda: in_hooks(
            "\n".join(f"ip daddr 9.{n >> 8 & 255}.{n & 255}.0/30 notrack" for n in range(150_000)),
            "ct state invalid drop",
        ),
    },
    "iptables": {"jumps": jumps},
}


@pytest.mark.parametrize(
    ("tool", "kind"), [(tool, kind) for tool in RULES for kind in RULES[tool]]
)
def test_very_many_rules_and_services(tmp_path, tool, kind):
    """30 jumps in each of 14 chains are 30^14 ways, and each packet passes all the rules."""
    services = "".join(
        f"TCP  0A00{n:04X}:0050 rr\n  -> 0B00{n:04X}:0050 Masq 1 0 0\n"
        f"  -> 0C00{n:04X}:0050 Route 1 0 0\n"
        for n in range(2000)
    )
    files = {
        "proc/net/ip_vs": f"{table_of_ipvs(0).rpartition('TCP')[0]}{services}",
        "proc/sys/net/ipv4/vs/conntrack": "0\n",
        "cmd/nft": "",
        "cmd/iptables": "",
        f"cmd/{tool}": RULES[tool][kind](),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    status, said = run(tmp_path, "audit", "--root", tmp_path)

    assert status in {0, 1}, said


def test_the_text_of_a_service_of_very_many_real_servers(tmp_path):
    rows = (f"-a -t 10.0.0.1:80 -r 10.1.{n >> 8}.{n & 255}:80 -m -w 1" for n in range(20_000))
    (tmp_path / "ipvs.txt").write_text("\n".join(("-A -t 10.0.0.1:80 -s rr", *rows)))

    status, said = run(tmp_path, "lvs", "import", tmp_path / "ipvs.txt", "--format", "json")

    assert (status, said.count("\n")) == (0, 1), said
    assert "no connection thresholds" in said


KEEPALIVED = {
    "uses": "~SEQ(n, 1, 900000) ${_BANG} " + "$n " * 120,
    "braces": f"include {'{a,b}' * 60}",
    "includes": f"include {'{a,b,c,d,e,f,g,h,i,j}' * 3}/x*/y\n" * 3000,
}


@pytest.mark.parametrize("kind", KEEPALIVED)
def test_a_keepalived_conf_that_stands_for_very_much(tmp_path, kind):
    """Files of less than 100 kB, which stand for 10^8 definitions, 2^60 and 3,000,000 patterns."""
    text = f"virtual_server 10.0.0.1 80 {{\n}}\n{KEEPALIVED[kind]}\n"
    (tmp_path / "keepalived.conf").write_text(text)

    status, said = run(tmp_path, "lvs", "import", tmp_path / "keepalived.conf")

    assert status == 2, said
    assert said.count("\n") <= 2, "a warning and the refusal"


def test_a_text_of_ipvsadm_without_an_end(tmp_path):
    assert "/dev/zero: the text is longer" in refused(tmp_path, "lvs", "import", "/dev/zero")


DOCUMENTS = {
    "dotted": "a." * 60_000 + "a = 1",
    "quoted": '"a".' * 100_000 + "a = 1",
    "escaped": '"\\"".' + "a." * 60_000 + "a = 1",
    "nested": "x = " + "[" * 300_000,
    "tables": "x = " + "{a = " * 100_000,
    "digits": "x = " + "9" * 5000,
    "header": "[" + " " * 900_000,
    "headers": "".join(f"[a{n}.{'.'.join('bcdefghijklmnop')}]\n" for n in range(25_000)),
    "large": "x = 1\n" * 1_500_000,
}


@pytest.mark.parametrize("text", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_plan_and_a_configuration(tmp_path, text):
    (tmp_path / "p.toml").write_text(text)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/interrupts").write_text(TABLE)

    assert "p.toml" in refused(tmp_path, "bench", "check", tmp_path / "p.toml")
    assert "p.toml" in refused(
        tmp_path, "audit", "--root", tmp_path, "--config", tmp_path / "p.toml"
    )


@pytest.mark.parametrize("text", ["[" * 200_000, '{"id":' * 200_000, "9" * 5000, '{"id": 1e999}'])
def test_a_run(tmp_path, text):
    (tmp_path / "run.json").write_text(text)

    assert "run.json" in refused(tmp_path, "report", tmp_path)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo.json")
    for argv in (
        ("audit", "--from", tmp_path / "fifo.json"),
        ("bench", "check", tmp_path / "fifo.json"),
        ("report", tmp_path / "fifo.json"),
        ("audit", "--host", f"@{tmp_path / 'fifo.json'}"),
        ("audit", "--host", "@/dev/zero"),
        ("audit", "--from", "/dev/zero"),
        ("audit", "-i", "/dev/zero"),
    ):
        assert "not a regular file" in refused(tmp_path, *argv)


@pytest.mark.parametrize(
    ("words", "status"),
    [("explain irq/shared-with-nic", 0), ("audit --root proc", 2), ("snapshot -o s.tar.gz", 2)],
)
def test_a_current_folder_that_was_removed(tmp_path, words, status):
    gone = tmp_path / "gone"
    script = f'mkdir "{gone}"; cd "{gone}"; rmdir "{gone}"; exec "{sys.executable}" -P -m dirtune '

    done = subprocess.run(
        ("sh", "-c", script + words), capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == status, done.stderr
    assert done.stderr.count("\n") == bool(status), done.stderr


def test_a_tree_with_a_fifo_and_a_terabyte_of_nothing(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/interrupts").write_text(TABLE)
    os.mkfifo(tmp_path / "proc/stat")
    (tmp_path / "proc/meminfo").touch()
    os.truncate(tmp_path / "proc/meminfo", 1 << 40)

    status, said = run(tmp_path, "audit", "--root", tmp_path)

    assert status in {0, 1}, said


@pytest.mark.parametrize("name", ["x" * 5000, "/".join("y" * 2500), "a/" * 3000])
def test_a_path_that_no_file_can_have(tmp_path, name):
    for argv in (("audit", "--from", name), ("audit", "--root", name), ("report", name)):
        refused(tmp_path, *argv)
    refused(tmp_path, "bench", "check", name)
    refused(tmp_path, "bench", "run", "--resume", name)
    refused(tmp_path, "audit", "--diff", name, name)
    refused(tmp_path, "compare", name, name)
    refused(tmp_path, "fix", "plan", "--root", tmp_path, "--output", name)
    refused(tmp_path, "audit", "--host", f"@{name}")


def test_a_user_that_there_is_not(tmp_path):
    text = plan_text(director="lb1")
    (tmp_path / "p.toml").write_text(f'ssh_config = "~nosuchuser/x"\n{text}')

    assert "nosuchuser" in refused(tmp_path, "bench", "check", tmp_path / "p.toml")
