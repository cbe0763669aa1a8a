from dirtune.collect.addresses import parse_fib_trie, parse_if_inet6
from dirtune.collect.cmdline import parse_cmdline
from dirtune.collect.cpuinfo import parse_cpuinfo
from dirtune.collect.irq_threads import parse_thread, read_irq_threads
from dirtune.host import RecordedHost


def test_options_keep_their_order_and_quoted_blanks():
    text = 'BOOT_IMAGE=/vmlinuz ro dyndbg="file a.c +p; file b.c +p" noapic\n'

    assert parse_cmdline(text) == (
        "BOOT_IMAGE=/vmlinuz",
        "ro",
        'dyndbg="file a.c +p; file b.c +p"',
        "noapic",
    )


def test_a_guest_says_so_and_an_architecture_without_flags_cannot():
    assert parse_cpuinfo("model name\t: X\nflags\t\t: fpu hypervisor\n\n").guest is True
    assert parse_cpuinfo("flags\t\t: fpu vme\n\nflags : hypervisor\n").guest is False
    assert parse_cpuinfo("cpu\t\t: POWER9\n").guest is None


def test_threads_of_handlers_are_told_from_other_processes():
    assert parse_thread(7, "irq/10-enp0s16\n").name == "enp0s16"
    assert parse_thread(7, "irqbalance\n") is None
    host = RecordedHost({"/proc/7/comm": "irq/10-eth1\n", "/proc/8/comm": "sshd\n"}, {})
    assert [(t.pid, t.irq) for t in read_irq_threads(host)] == [(7, 10)]


def test_local_addresses_are_leaves_of_the_host_and_not_of_networks():
    text = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 198.18.0.0/16 2 0 2
        |-- 198.18.0.0
           /16 link UNICAST
        |-- 198.18.0.100
           /32 host LOCAL
        |-- 198.18.255.255
           /32 link BROADCAST
"""
    assert parse_fib_trie(text) == {"198.18.0.100"}


def test_addresses_of_ipv6():
    row = "fd000000000000000000000000000009 02 40 00 80     eth0\n"

    assert parse_if_inet6(row) == {"fd00::9"}
