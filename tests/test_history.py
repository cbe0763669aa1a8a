"""A day of sysstat becomes two samples of its worst interval. Expected counters are by hand."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from dirtune import history
from dirtune.cli import main
from dirtune.errors import NotPossible, ParseError
from dirtune.host import run_bounded
from dirtune.jobs import histories

SADC = Path("/usr/lib/sysstat/sadc")


def cpu(name, **percents):
    return {"cpu": name, "idle": 100 - sum(percents.values())} | percents


def entry(time, dropd=0, squeezd=0, soft=0):
    """As sysstat 12.6 prints it, on a host with two CPUs."""
    softnet = [
        {"cpu": "all", "total": 9999, "dropd": 9999, "squeezd": 9999, "rx_rps": 0, "flw_lim": 0},
        {"cpu": "0", "total": 50.5, "dropd": 0, "squeezd": squeezd, "rx_rps": 2, "blg_len": 7},
        {"cpu": "1", "total": 4, "dropd": dropd, "squeezd": 0, "rx_rps": 0, "flw_lim": 1},
    ]
    device = {"iface": "eth0", "rxpck": 10, "txpck": 20, "rxkB": 1.5, "txkB": 2}
    return {
        "timestamp": {"date": "2026-12-01", "time": time, "utc": 0, "interval": 600},
        "cpu-load": [
            cpu("all", soft=soft / 2),
            cpu("0", soft=soft, steal=30, guest=5, usr=1),
            cpu("1"),
        ],
        "network": {
            "net-dev": [device],
            "net-edev": [{"iface": "eth0", "rxerr": 1, "rxdrop": 0.5, "txdrop": 2}],
            "softnet": softnet,
        },
    }


def day(*entries, **host):
    about = {"nodename": "lb1", "release": "6.1.0", "timezone": "CET"} | host
    return json.dumps({"sysstat": {"hosts": [about | {"statistics": entries}]}})


def test_the_counters_of_both_ends():
    text = day(entry("03:10:00"), entry("03:20:00", dropd=3, squeezd=1))

    before, after = history.of_day("sa01", text).samples

    assert after.monotonic() - before.monotonic() == 600
    assert after.read("/proc/sys/kernel/hostname") == "lb1\n"
    assert after.read("/sys/devices/system/cpu/online") == "0,1\n"
    # 30 % of 600 s are 180 s, or 18,000 ticks of 1/100 s; guests' time is part of user.
    assert after.read("/proc/stat").splitlines()[1] == "cpu0 3600 0 0 38400 0 0 0 18000 3000 0"
    # 50.5 * 600 is 30,300; 600 is 0x258, 1,200 is 0x4b0, 1,800 is 0x708, 2,400 is 0x960.
    first, second = (row.split() for row in after.read("/proc/net/softnet_stat").splitlines())
    assert (first[0], first[2], first[9], first[12]) == (
        f"{30300:08x}",
        "00000258",
        "000004b0",
        "0" * 8,
    )
    assert (second[0], second[1], second[10]) == ("00000960", "00000708", "00000258")
    assert after.read("/proc/net/dev").splitlines()[2] == (
        "eth0: 921600 6000 600 300 0 0 0 0 1228800 12000 0 1200 0 0 0 0"
    )
    assert set(before.read("/proc/net/dev").split("\n")[2].split(": ")[1].split()) == {"0"}


@pytest.mark.parametrize(
    ("entries", "time", "why"),
    [
        (
            [entry("01:00", soft=50), entry("02:00", squeezd=9), entry("03:00", dropd=0.5)],
            "03:00",
            "0.5 packets/s were dropped by the backlogs",
        ),
        ([entry("01:00", soft=50), entry("02:00", squeezd=9)], "02:00", "9 time squeezes/s"),
        ([entry("01:00", soft=50), entry("02:00", soft=40)], "01:00", "50 % of one CPU"),
    ],
)
def test_the_worst_interval_is_named_with_its_zone_and_its_reason(entries, time, why):
    note = history.of_day("sa01", day(*entries)).note

    assert f"the 600 s before 2026-12-01 {time} (CET, the time zone of the host)" in note
    assert why in note


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "{}",
            "[" * 9999,
            day(),
            day(entry("x"), nodename="a\nb"),
            '{"sysstat":{"hosts":[]}}',
        ),
        day(entry("x")).replace('"eth0"', '"eth0\\n x"'),
        day(entry("x")).replace('"cpu": "0"', '"cpu": "9999999"'),
        day(entry("x")).replace("600", "1e300"),
        day(entry("x")).replace("50.5", "-1"),
        day(entry("x")).replace('"interval": 600', '"interval": 0'),
    ],
)
def test_what_sadf_never_prints_is_one_line(text):
    with pytest.raises(ParseError, match="sadf printed no interval"):
        history.of_day("sa01", text)


@pytest.fixture
def printed(monkeypatch, tmp_path):
    """A day file for which sadf prints what is given."""
    path = tmp_path / "sa01"
    path.write_bytes(b"\x96\xd5")

    def give(text):
        monkeypatch.setattr(histories, "_printed", lambda program, path: text)
        return CliRunner().invoke(main, ["audit", "--from", str(path), "--format", "json"])

    return give


def test_the_audit_judges_the_rates_of_that_interval(printed):
    done = printed(day(entry("03:10:00"), entry("03:20:00", dropd=3)))

    outcomes = {each["check"]: each for each in json.loads(done.stdout)["outcomes"]}
    assert outcomes["cpu/steal"]["findings"]
    assert "03:20:00 (CET" in done.stderr


@pytest.mark.skipif(not SADC.exists(), reason="sysstat is not installed")
def test_a_day_file_of_this_host_is_read(tmp_path):
    subprocess.run([SADC, "-S", "ALL", "1", "2", tmp_path / "sa01"], check=True)

    done = CliRunner().invoke(main, ["audit", "--from", str(tmp_path / "sa01")])

    assert done.exit_code in {0, 1}, done.output
    assert "the worst of 1 interval, the" in done.stderr
    assert "two samples" in done.stdout


@pytest.mark.skipif(shutil.which("sadf") is None, reason="sysstat is not installed")
def test_a_file_that_sadf_refuses_is_one_line_with_the_remedy(tmp_path):
    (tmp_path / "sa01").write_bytes(b"\x96\xd5 garbage")

    done = CliRunner().invoke(main, ["audit", "--from", str(tmp_path / "sa01")])

    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "Invalid system activity file" in done.stderr
    assert "sadf -c" in done.stderr


def test_without_sadf_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (tmp_path / "sa01").write_bytes(b"\x96\xd5")

    done = CliRunner().invoke(main, ["audit", "--from", str(tmp_path / "sa01")])

    assert done.exit_code == 2
    assert "Install the package sysstat" in done.stderr


def test_a_command_that_prints_without_end_is_ended():
    with pytest.raises(NotPossible, match="the output is larger than 1 MiB"):
        run_bounded(("yes",), timeout_s=30, most_bytes=1 << 20)
    assert run_bounded(("echo", "x"), timeout_s=30, most_bytes=1 << 20) == "x\n"
    with pytest.raises(NotPossible, match=r"^cat /nonexistent: "):
        run_bounded(("cat", "/nonexistent"), timeout_s=30, most_bytes=1 << 20)


# It shows its rights, whether it leads a session, the file, and the names of its variables.
CONFINED = """#!/bin/sh
id -u; id -g; id -G; ulimit -v
read -r _ _ _ _ group session _ <"/proc/$$/stat"; [ "$session" -ne $$ ] || echo own session
day=$3; stat -c '%a %u' "$day" "${day%/*}" | paste -sd ' '
env | sed 's/^\\(PATH\\|PWD\\)=.*/\\1/; /^_=/d; /^OLDPWD/d' | sort | paste -sd ' '
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its rights")
def test_a_day_file_is_read_without_the_rights_of_root(tmp_path, monkeypatch, request):
    folder = Path(tempfile.mkdtemp())  # the user nobody cannot enter tmp_path
    request.addfinalizer(lambda: shutil.rmtree(folder))
    folder.chmod(0o755)
    sadf = folder / "sadf"
    sadf.write_text(CONFINED)
    sadf.chmod(0o755)
    day = tmp_path / "sa01"
    day.write_bytes(b"\x96\xd5")
    day.chmod(0o600)
    seen = []
    monkeypatch.setattr(shutil, "which", lambda name: str(sadf))
    monkeypatch.setattr(history, "of_day", lambda path, text: seen.append(text))

    histories.of_day_file(day)

    assert seen == [
        "65534\n65534\n65534\n1048576\nown session\n400 65534 711 0\nLC_ALL=C PATH PWD\n"
    ]


def test_a_day_file_that_grows_is_copied_up_to_the_limit(tmp_path, monkeypatch):
    day = tmp_path / "sa01"
    day.write_bytes(b"\x96\xd5" + bytes(5 << 20))
    monkeypatch.setattr(histories, "_LARGEST_FILE", 1 << 20)
    monkeypatch.setattr(
        histories.reading, "open_regular", lambda path, most: os.open(path, os.O_RDONLY)
    )

    with pytest.raises(NotPossible, match="the file is larger than 1 MiB"):
        histories._copy(day, tmp_path / "copy")

    assert (tmp_path / "copy").stat().st_size <= 1 << 20


def test_the_complaints_of_a_command_without_end_take_little_memory():
    script = "yes 'no such file' >&2"
    with pytest.raises(NotPossible) as refusal:
        run_bounded(("sh", "-c", script), timeout_s=30, most_bytes=1 << 20, confined=True)

    assert len(str(refusal.value)) < 200
