import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from dirtune.collect import answers, commands, netlink
from dirtune.errors import Exhausted, NotPossible, SourceMissing, SourceRefused
from dirtune.host import LiveHost, RecordedHost, followed, run
from tests.forked import wait_for

FILES = (
    "/proc/net/snmp",
    "/sys/cpu/cpu0/online",
    "/sys/cpu/cpu10/online",
    "/sys/cpu/cpufreq/online",
    "/sys/net/eth0/mtu",
    "/sys/net/eth0.100/mtu",
    "/sys/net/eth0/queues/rx-0/rps_cpus",
)


@pytest.mark.parametrize(
    "pattern",
    [
        "/proc/net/snmp",
        "/proc/net/snmp6",
        "/proc/*/snmp",
        "/sys/cpu/cpu[0-9]*/online",
        "/sys/cpu/cpu[!0-9]*",
        "/sys/cpu/cpu?",
        "/sys/net/*/mtu",
        "/sys/net/*",
        "/sys/net",
        "/sys/net/*/*/*-*/*",
        "/*/*",
        "/sys/net/eth0/mtu/*",
    ],
)
def test_a_record_matches_what_its_tree_matches(tmp_path, pattern):
    """The oracle is pathlib on the same tree."""
    for path in FILES:
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path[1:]).write_text("")

    found = RecordedHost(dict.fromkeys(FILES, ""), {}).glob(pattern)

    assert found == LiveHost(tmp_path).glob(pattern)


def recorded(tmp_path):
    """A tree whose links are those of another machine, beside a file that is not of it."""
    (tmp_path / "outside").write_text("of this machine")
    root = tmp_path / "root"
    real = root / "sys/devices/virtual/net/eth7"
    real.mkdir(parents=True)
    (real / "mtu").write_text("1400")
    (root / "sys/class/net").mkdir(parents=True)
    (root / "proc").mkdir()
    (root / "etc").mkdir()
    return root


ASKED = {
    "read": lambda: LiveHost().read("/proc/stat"),
    "glob": lambda: LiveHost().glob("/proc/[1-9]*/stat"),
    "run": lambda: run(("true",)),
    "commands": lambda: commands.outputs(commands.OUTPUTS),
    "netlink": lambda: netlink.answers(LiveHost(), (answers.ETHTOOL,)),
}


@pytest.mark.parametrize("ask", ASKED)
def test_no_file_left_to_open_says_nothing_about_the_host(ask):
    """Taken for an absent source, it would let checks pass that saw nothing."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        with pytest.raises((Exhausted, OSError), match=r"open (more )?files"):
            ASKED[ask]()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_an_absolute_link_of_a_record_starts_at_its_root(tmp_path):
    root = recorded(tmp_path)
    (root / "sys/class/net/eth7").symlink_to("/sys/devices/virtual/net/eth7")
    (root / "etc/mtu").symlink_to("/sys/class/net/eth7/mtu")
    host = LiveHost(root)

    assert host.read("/sys/class/net/eth7/mtu") == "1400"
    assert host.read("/etc/mtu") == "1400"
    assert host.glob("/sys/class/net/*/mtu") == ("/sys/class/net/eth7/mtu",)
    assert host.link("/sys/class/net/eth7") == "/sys/devices/virtual/net/eth7"


def test_this_machines_files_are_not_those_of_a_record(tmp_path):
    root = recorded(tmp_path)
    (root / "proc/version").symlink_to("/proc/version")
    (root / "etc/hosts").symlink_to(tmp_path / "outside")

    with pytest.raises(SourceRefused, match="/proc/version is part of a loop of links"):
        LiveHost(root).read("/proc/version")
    with pytest.raises(SourceMissing, match="/etc/hosts"):
        LiveHost(root).read("/etc/hosts")


@pytest.mark.parametrize("path", ["/etc/hosts", "/sys/class/net/eth7/hosts"])
def test_a_link_out_of_a_record_is_named(tmp_path, path):
    root = recorded(tmp_path)
    (root / "etc/hosts").symlink_to("../../outside")
    (root / "sys/class/net/eth7").symlink_to("../../../../..")
    link = path.removesuffix("/hosts") if "net" in path else path

    with pytest.raises(SourceRefused, match=f"{link} is a link that points outside"):
        LiveHost(root).read(path)


def test_a_folder_out_of_a_record_is_not_listed(tmp_path):
    root = recorded(tmp_path)
    (root / "sys/class/net/eth7").symlink_to("../../../..")

    with pytest.raises(SourceRefused, match="/sys/class/net/eth7 is a link that points outside"):
        LiveHost(root).glob("/sys/class/net/eth7/*")


def test_relative_links_are_followed_as_the_kernel_does(tmp_path):
    """The oracle is realpath(3) on a tree whose links stay in it."""
    root = recorded(tmp_path)
    (root / "sys/class/net/eth7").symlink_to("../../devices/virtual/net/eth7")
    (root / "etc/cards").symlink_to("../sys/class/net")
    (root / "etc/up").symlink_to("cards/eth7/../eth7/mtu")

    real = (root / "etc/up").resolve()
    target = LiveHost(root)._target

    assert str(root.resolve()) + followed("/etc/up", target) == str(real)


def test_a_program_that_cannot_be_started_is_one_error(tmp_path):
    program = tmp_path / "program"
    program.write_text("of no format")
    for mode, reason in ((0o644, "Permission denied"), (0o755, "Exec format error")):
        program.chmod(mode)
        with pytest.raises(NotPossible, match=f"{program} could not be started: {reason}"):
            run([str(program)])


def test_all_that_is_read_of_a_recorded_tree_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("dirtune.host.live._LARGEST_TREE", 10)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text("123456789\n")
    host = LiveHost(tmp_path)

    assert host.read("/proc/stat") == "123456789\n"
    with pytest.raises(SourceRefused, match=r"/proc/stat: .*larger than"):
        host.read("/proc/stat")


def test_ctrl_c_of_a_terminal_ends_no_program_that_undoes(tmp_path):
    """A terminal sends it to the whole group."""
    mark, done = tmp_path / "mark", tmp_path / "done"
    code = (
        "import sys; from dirtune.host import run; from dirtune.signals import undisturbed\n"
        "with undisturbed(): run(('sh', '-c', sys.argv[1]))"
    )
    script = f"touch {mark}; sleep 0.3; touch {done}"
    process = subprocess.Popen(
        (sys.executable, "-c", code, script), process_group=0, stderr=subprocess.DEVNULL
    )
    wait_for(mark.exists)
    os.killpg(process.pid, signal.SIGINT)
    process.wait()

    assert done.exists()


def test_what_is_given_up_leaves_nothing_behind(tmp_path):
    late = tmp_path / "late"
    with pytest.raises(NotPossible, match=r"within 0\.2 s"):
        run(("sh", "-c", f"(sleep 0.5; touch {late}) & wait"), timeout_s=0.2)
    time.sleep(0.6)

    assert not late.exists()


def test_no_row_of_a_recorded_tree_is_split_where_only_python_splits(tmp_path):
    """The name of a NIC may contain these characters, at which no table of the kernel splits."""
    (tmp_path / "cmd").mkdir()
    rows = "1: a\x1cb inet 198.18.0.1/32\n2: c\u3000d inet 198.18.0.2/32\n"
    (tmp_path / "cmd/ip-addr").write_text(rows)

    text = LiveHost(tmp_path).read("/cmd/ip-addr")

    assert [len(row.split()) for row in text.splitlines()] == [4, 4]
    assert text.splitlines()[1].split()[1] == r"c\u3000d"
