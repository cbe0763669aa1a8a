"""A report that the tools of this machine wrote says what the kernel's own files say."""

import shutil
import subprocess

import pytest

from dirtune.collect import addresses, cpus, kernel, modules, net, processes, routes, sysctls
from dirtune.host import LiveHost
from dirtune.sosreport import of_folder

COMMANDS = {
    "networking/ip_-o_addr": ("ip", "-o", "addr"),
    "networking/ip_-s_-d_link": ("ip", "-s", "-d", "link"),
    "networking/ip_route_show_table_all": ("ip", "route", "show", "table", "all"),
    "kernel/sysctl_-a": ("sysctl", "-a"),
    "kernel/uname_-a": ("uname", "-a"),
    "processor/lscpu": ("lscpu",),
    "process/ps_axo_flags_state_uid_pid_ppid_pgid_sid_cls_pri_psr_addr_sz_wchan_20_lstart_tty_"
    "time_cmd": (
        *("ps", "axo"),
        "flags,state,uid,pid,ppid,pgid,sid,cls,pri,psr,addr,sz,wchan:20,lstart,tty,time,cmd",
    ),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for name, words in COMMANDS.items():
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not installed")
        output = folder / "sos_commands" / name
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("w") as file:
            subprocess.run(words, stdout=file, stderr=subprocess.STDOUT, check=False)
    return of_folder(folder)


def test_addresses(report):
    live = LiveHost()

    assert addresses.read_addresses(report) == addresses.read_addresses(live)
    assert addresses.read_local_networks(report) == addresses.read_local_networks(live)
    assert addresses.read_interface_addresses(report)


def test_routes(report):
    assert set(routes.read_routes(report)) == set(routes.read_routes(LiveHost()))


def test_cpus(report):
    live, read = cpus.read_cpus(LiveHost()), cpus.read_cpus(report)

    assert read.online == live.online
    assert read.nodes in ({}, live.nodes)


def test_kernel_and_settings(report):
    live, read = sysctls.read_sysctls(LiveHost()).values, sysctls.read_sysctls(report).values

    assert kernel.read_kernel(report) == kernel.read_kernel(LiveHost())
    # A counter may move between the two readings, and an interface may come.
    assert {n for n in live if read.get(n) != live[n]} <= {"net/netfilter/nf_conntrack_count"}
    assert len(read) > 50


def test_interfaces(report):
    live = {interface.name: interface for interface in net.read_interfaces(LiveHost())}
    read = {interface.name: interface for interface in net.read_interfaces(report)}

    assert read.keys() == live.keys()
    for name, interface in read.items():
        facts = ("mtu", "operstate", "ifindex", "type", "promiscuous", "master")
        assert [getattr(interface, f) for f in facts] == [getattr(live[name], f) for f in facts]
        assert interface.statistics["rx_packets"] <= live[name].statistics["rx_packets"]


def test_processes(report):
    live = {process.pid: process for process in processes.read_processes(LiveHost())}
    read = {process.pid: process for process in processes.read_processes(report)}
    # Kernel threads stay, and workers are renamed.
    threads = [p for p in live.values() if p.kernel and not p.name.startswith("kworker")]

    assert threads
    for thread in threads:
        other = read[thread.pid]
        assert (other.name[:15], other.kernel) == (thread.name[:15], True)
        assert (other.policy, other.priority) == (thread.policy, thread.priority)


def test_modules_are_those_of_lsmod(tmp_path):
    text = "Module                  Size  Used by\nip_vs  200704  4 ip_vs_rr,ip_vs_wlc\nnft 1 0\n"
    (tmp_path / "sos_commands/kernel").mkdir(parents=True)
    (tmp_path / "sos_commands/kernel/lsmod").write_text(text)

    assert modules.read_modules(of_folder(tmp_path)).loaded == {"ip_vs", "nft"}
