import os
import subprocess

import pytest

from dirtune.collect.netlink import IPVS
from dirtune.errors import ParseError
from dirtune.fetch import fetch_script, parse_fetched, parse_sample, record, sample_script
from dirtune.host import LiveHost


def test_the_shell_fetches_what_python_reads(tmp_path):
    """The oracle of the script is the reader of this machine."""
    (tmp_path / "a:b").mkdir()
    texts = {"a:b/one": "1: x\n\n2\n", "a:b/two": "a:b\n", "empty": ""}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "a:b/link").symlink_to("../some where -> else")
    patterns = (f"{tmp_path}/*/*", f"{tmp_path}/empty", f"{tmp_path}/none*")

    done = subprocess.run(
        ["sh", "-c", sample_script(patterns)], capture_output=True, text=True, check=True
    )
    fetched = parse_sample(done.stdout)

    files = {p: t for p, t in fetched.files.items() if not p.startswith(("/cmd/", "/netlink/"))}
    assert files == {f"{tmp_path}/{name}": text for name, text in texts.items()}
    assert fetched.links == {f"{tmp_path}/a:b/link": "../some where -> else"}
    assert fetched.taken_s > 0
    assert done.stderr == ""


def test_a_process_that_began_meanwhile_is_left_out():
    text = "time 5.0\nfile /p/1/comm\nfile /p/3/comm\nlinks\ncommands\ntext\n"
    text += "/p/1/comm:one\n/p/2/comm:two\n/p/3/comm:three\nend\n"

    assert parse_sample(text).files == {"/p/1/comm": "one\n", "/p/3/comm": "three\n"}


def test_nothing_is_asked_that_is_not_wanted():
    done = subprocess.run(
        ["sh", "-c", sample_script(("/proc/uptime",))], capture_output=True, text=True, check=True
    )
    fetched = parse_sample(done.stdout)

    assert list(fetched.files) == ["/proc/uptime"]
    assert (fetched.links, fetched.modes) == ({}, {})


def test_a_dirtune_there_is_asked_for_what_netlink_tells(tmp_path):
    (tmp_path / "dirtune").write_text(
        "#!/bin/sh\n[ $1 = netlink ] && echo '/netlink/ipvs.json {}'\n"
    )
    (tmp_path / "dirtune").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", sample_script((IPVS,))],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert parse_sample(done.stdout).files == {"/netlink/ipvs.json": "{}"}


def test_what_was_asked_beside_files_is_kept():
    text = (
        "time 5.0\nfile /p/a\n"
        "mode -r--r--r-- 1 root root 0 Nov 22 18:59 /proc/irq/36/smp_affinity\n"
        "mode -rw-r--r-- 1 root root 0 Nov 22 18:59 /proc/irq/37/smp_affinity\n"
        'netlink /netlink/ethtool.json {"eth0": {}}\nlinks\ncommands\n'
        "/cmd/ip-rule:0:\tfrom all lookup local\n/cmd/none:x\ntext\n/p/a:end\nend\n"
    )

    fetched = parse_sample(text)

    assert fetched.files == {
        "/p/a": "end\n",
        "/netlink/ethtool.json": '{"eth0": {}}',
        "/cmd/ip-rule": "0:\tfrom all lookup local\n",
    }
    assert fetched.mode("/proc/irq/36/smp_affinity") == 0o444
    assert fetched.mode("/proc/irq/37/smp_affinity") == 0o644


def test_a_transfer_that_was_cut_off_is_noticed():
    whole = "time 5.0\nfile /proc/stat\nlinks\ncommands\ntext\n/proc/stat:cpu 1\nend\n"

    assert len(parse_fetched(whole * 2)) == 2
    for text in ("", whole, whole + whole[:-5], whole + whole[:-1]):
        with pytest.raises(ParseError, match="cut off"):
            parse_fetched(text)


def test_two_samples_are_taken_apart_from_each_other_and_the_first_has_what_moves():
    script = fetch_script(("stat", "cmdline"), interval_s=0.3)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)

    first, second = parse_fetched(done.stdout)

    assert list(first.files) == ["/proc/stat"]
    assert list(second.files) == ["/proc/stat", "/proc/cmdline"]
    assert second.taken_s - first.taken_s >= 0.29  # the clock's rows have hundredths


def test_recording_this_machine_reads_its_interrupts():
    assert list(record(LiveHost(), ("/proc/interrupts",)).files) == ["/proc/interrupts"]
