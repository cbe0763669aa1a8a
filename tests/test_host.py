import pytest

from dirtune.host import LiveHost, RecordedHost

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
