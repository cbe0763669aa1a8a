"""The sampler's shell and what it prints."""

import asyncio
import subprocess

import pytest

from dirtune import remote
from dirtune.bench import sampler
from dirtune.errors import NodeUnreachable, ParseError

TEXT = """\
==> /proc/uptime <==
1234.56 9999.99

==> /proc/stat <==
cpu  1 2 3 4 5 6 7 8 0 0
cpu0 1 2 3 4 5 6 7 8 0 0
intr 77

==> /proc/interrupts <==
           CPU0       CPU1
 10:         40          2    XT-PIC      eth0, aic7xxx
NMI:          9          9   Non-maskable interrupts

==> /proc/net/ip_vs_stats_percpu <==
       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0       1A       90        0             C350                0
  1        5       10        0               10                0
  ~       1D       9C        0             C340                0

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
           0        0        0                0                0

==> /proc/net/ip_vs <==
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C6120064:0050 rr
  -> C612000B:0050      Route   1      3          40
  -> C612000C:0050      Route   1      1          2
"""
GROUP = """
==> /sys/fs/cgroup/cpuacct/x/rs1/cpuacct.usage_user <==
2500000000

==> /sys/fs/cgroup/cpuacct/x/rs1/cpuacct.usage_sys <==
500000000

==> /sys/fs/cgroup/cpuset/x/rs1/cpuset.cpus <==
0,2-4
"""
GROUP2 = """
==> /sys/fs/cgroup/x/cpu.stat <==
usage_usec 3000000
user_usec 2500000
system_usec 500000

==> /sys/fs/cgroup/x/cpuset.cpus.effective <==
1
"""


def test_a_sample_of_a_director():
    found = sampler.parse(TEXT.splitlines())

    assert found.at_s == 1234.56
    assert found.stat.total.steal == 8
    assert found.lines == {"10": 42}
    assert found.ip_vs["connections"] == 31  # 0x1F
    assert found.ip_vs["packets_in"] == 160
    assert (found.active, found.inactive) == (4, 42)
    assert found.group is None


def test_what_is_not_there_is_none():
    found = sampler.parse(TEXT.split("==> /proc/interrupts", maxsplit=1)[0].splitlines())

    assert (found.lines, found.ip_vs, found.inactive) == ({}, {}, None)


@pytest.mark.parametrize(("group", "cpus"), [(GROUP, 4), (GROUP2, 1)])
def test_a_container_has_its_own_times(group, cpus):
    found = sampler.parse((TEXT + group).splitlines(), container=True)

    assert (found.group.user_s, found.group.system_s, found.group.cpus) == (2.5, 0.5, cpus)


def test_a_container_whose_accounting_is_hidden_is_not_read_as_the_machine():
    found = sampler.parse(TEXT.splitlines(), container=True)

    assert (found.stat, found.group) == (None, None)


def test_a_torn_sample_is_an_error():
    with pytest.raises(ParseError, match="uptime"):
        sampler.parse(TEXT.splitlines()[3:])


@pytest.mark.parametrize("time", ["nan", "inf", "1e308", "-1", "9" * 400, "1_0"])
def test_a_time_that_no_clock_shows_is_an_error(time):
    with pytest.raises(ParseError, match="uptime"):
        sampler.parse(TEXT.replace("1234.56", time).splitlines())


@pytest.mark.parametrize("number", ["9" * 400, "9" * 4000])
@pytest.mark.parametrize("old", ["2500000000", "0,2-4"])
def test_numbers_that_no_kernel_has_are_an_error(old, number):
    lines = f"{TEXT}{GROUP.replace(old, f'0-{number}' if '-' in old else number)}".splitlines()
    with pytest.raises(ParseError):
        sampler.parse(lines, container=True)


def test_samples_of_this_machine():
    async def body():
        node = await remote.connect("local")
        watch = await sampler.start(node, sampler.NODE_FILES)
        try:
            return await watch.sample(), await watch.sample()
        finally:
            await watch.end()

    first, second = asyncio.run(body())

    assert first.stat.total.total <= second.stat.total.total
    assert 0 <= second.at_s - first.at_s < 5


def test_a_sampler_that_was_killed_is_noticed():
    async def body():
        node = await remote.connect("local")
        watch = await sampler.start(node, sampler.NODE_FILES)
        await watch.end()
        with pytest.raises(NodeUnreachable, match="local"):
            await watch.sample()

    asyncio.run(body())


def test_the_script_is_plain_posix_shell():
    text = sampler.script(sampler.DIRECTOR_FILES)

    done = subprocess.run(["sh", "-n", "-c", text], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_counters_of_the_network_stack():
    """Pairs of rows as net/ipv4/proc.c has them, columns as net/core/net-procfs.c."""
    text = """\
==> /proc/uptime <==
100.25 180.00

==> /proc/net/snmp <==
Tcp: RtoAlgorithm ActiveOpens OutRsts
Tcp: 1 4000 17

==> /proc/net/netstat <==
TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPSynRetrans
TcpExt: 0 3 5 23
IpExt: InNoRoutes
IpExt: 0

==> /proc/net/sockstat <==
sockets: used 300
TCP: inuse 5 orphan 0 tw 7 alloc 8 mem 1

==> /proc/net/dev <==
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo:     897      13    0    0    0     0          0         0      897      13    0 2 0 0 0 0
  eth0:29942907  430342    2 1138    7     0          0      1566 477692743  529830    5 9 0 0 0 0

==> /proc/net/softnet_stat <==
0000a1b2 00000010 00000003 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
0000a1b2 00000002 00000003 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
"""
    found = sampler.parse(text.splitlines())

    assert found.net == {
        "Tcp.OutRsts": 17,
        "TcpExt.TCPSynRetrans": 23,
        "TcpExt.ListenDrops": 5,
        "time_wait": 7,
        "rx_dropped": 1138,
        "tx_dropped": 11,
        "softnet_dropped": 18,
    }
    assert sampler.parse(text.splitlines()[:2]).net == {}
