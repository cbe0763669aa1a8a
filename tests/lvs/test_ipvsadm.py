"""The text of ipvsadm against what ipvsadm itself read and wrote."""

import socket
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dirtune.errors import ParseError
from dirtune.lvs import ipvsadm, wire
from dirtune.lvs.diff import Step, Verb, diff
from dirtune.lvs.model import Destination, Service, SyncDaemon, Table, Timeouts
from tests.lvs.tables import tables

RECORDED = Path(__file__).parent / "recorded"
SHARED = Path(__file__).parents[3] / "shared/data/kernel/ipvs-proc-files-6.1.txt"
WEB = Service("tcp", "10.9.9.9", 80, "rr")


def test_what_ipvsadm_wrote_comes_back_line_by_line():
    text = (RECORDED / "Sn.txt").read_text()

    again = ipvsadm.export(ipvsadm.parse(text))

    # ipvsadm takes addresses from each other as signed numbers, so that its order is its own.
    assert sorted(again.splitlines()) == sorted(text.splitlines())
    assert ipvsadm.parse(again) == ipvsadm.parse(ipvsadm.export(ipvsadm.parse(again)))


def test_what_was_restored_is_what_ipvsadm_wrote_but_for_thresholds():
    restored = ipvsadm.parse((RECORDED / "restore.txt").read_text())
    written = ipvsadm.parse((RECORDED / "Sn.txt").read_text())

    (web,) = (s for s in restored.services if s.name == "TCP 10.9.9.9:80")
    assert (web.destinations[0].upper, web.destinations[0].lower) == (1000, 800)
    bare = Table(
        tuple(
            replace(s, destinations=tuple(replace(d, upper=0, lower=0) for d in s.destinations))
            for s in restored.services
        )
    )
    assert diff(bare, written) == ()


@pytest.mark.skipif(not SHARED.exists(), reason="the recorded kernel files are not here")
def test_another_record_comes_back_too():
    lines = [row for row in SHARED.read_text().splitlines() if row.startswith(("-A", "-a"))]

    again = ipvsadm.export(ipvsadm.parse("\n".join(lines)))

    assert len(lines) == 12
    assert sorted(again.splitlines()) == sorted(lines)


@settings(max_examples=60)
@given(tables())
def test_every_table_comes_back_but_for_timeouts(table):
    assert diff(ipvsadm.parse(ipvsadm.export(table)), replace(table, timeouts=None)) == ()


@st.composite
def printable(draw):
    """Generate tables with all that `ipvsadm -S` can print, but without thresholds."""
    services = []
    for service in draw(tables(least=1)).services:
        behind = {}
        for number, real in enumerate(service.destinations):
            port = draw(st.sampled_from([0, 1000 + number])) if service.protocol == "fwmark" else 0
            moved = replace(real, port=port or real.port, upper=0, lower=0)
            behind[moved.key] = moved
        marks = (service.port, 2**31 + service.port, 2**32 - service.port)
        services.append(
            replace(
                service,
                port=draw(st.sampled_from(marks if service.protocol == "fwmark" else marks[:1])),
                flags=service.flags | draw(st.sampled_from([0, 0x8, 0x10, 0x20, 0x38])),
                engine=draw(st.sampled_from(["", "sip"])) if service.persistent_s else "",
                destinations=tuple(behind.values()),
            )
        )
    return Table(tuple(services), timeouts=None, daemons=())


def printed(table, *, names):
    """Return *table* as ipvsadm.c prints it: marks by %d, and ports by their names without -n."""
    lines = []
    for line in ipvsadm.export(table).splitlines():
        words = line.split()
        at = next(n for n, word in enumerate(words) if word in {*PORTS, "-f"})
        if words[at] == "-f":
            mark = int(words[at + 1])
            words[at + 1] = str(mark - 2**32 if mark >= 2**31 else mark)
        elif names:
            for option in {at, words.index("-r") if "-r" in words else at}:
                address, _, port = words[option + 1].rpartition(":")
                words[option + 1] = f"{address}:{PORTS[words[at]].get(int(port), port)}"
        lines.append(" ".join(words))
    return "\n".join(lines)


def named(protocol):
    found = {}
    for port in range(1, 41):
        with suppress(OSError):
            found[port] = socket.getservbyport(port, protocol)
    return found


PORTS = {"-t": named("tcp"), "-u": named("udp"), "--sctp-service": named("sctp")}


@settings(max_examples=60)
@given(printable(), st.booleans())
def test_what_ipvsadm_can_print_comes_back(table, names):
    assert diff(ipvsadm.parse(printed(table, names=names)), table) == ()


def test_long_options_defaults_and_comments_are_read():
    text = """
# by hand
--add-service --tcp-service 10.9.9.9:80
--add-server --tcp-service 10.9.9.9:80 --real-server=10.1.1.1
-a -t 10.9.9.9:80 -r 10.1.1.2:8080 --masquerading --weight 0 --u-threshold 9 # the old one
-A -u 10.9.9.9:53 -p -s rr
"""

    assert ipvsadm.parse(text) == Table(
        (
            Service(
                "tcp",
                "10.9.9.9",
                80,
                "wlc",
                destinations=(
                    Destination("10.1.1.1", 80, "dr"),
                    Destination("10.1.1.2", 8080, "nat", 0, 9),
                ),
            ),
            Service("udp", "10.9.9.9", 53, "rr", persistent_s=300),
        )
    )


WORDS = st.sampled_from(
    [
        *(
            "-A",
            "-a",
            "-t",
            "-u",
            "-f",
            "-6",
            "-s",
            "-p",
            "-M",
            "-o",
            "-b",
            "-r",
            "-m",
            "-i",
            "-g",
        ),
        *(
            "-w",
            "-x",
            "-y",
            "--pe",
            "--tun-type",
            "--tun-port",
            "rr",
            "sh-port",
            "gue",
            "0",
            "300",
        ),
        *("1.2.3.4:80", "1.2.3.4", "[fd00::1]:80", "[fe80::1%lo]:1", "'", "#", "\x00"),
    ]
)


@settings(max_examples=300)
@given(st.lists(st.lists(WORDS | st.text(max_size=4), max_size=9).map(" ".join), max_size=5))
def test_any_text_is_a_table_that_the_wire_takes_or_one_kind_of_error(lines):
    try:
        table = ipvsadm.parse("\n".join(lines))
    except ParseError:
        return
    for step in diff(Table(), table):
        wire.request(step)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-A -t 10.9.9.9:80\n-A -t 10.9.9.9:80 -s rr", "line 2: .* is added twice"),
        (
            "-a -t 10.9.9.9:80 -r 10.1.1.1",
            "line 1: .*earlier line must add the service TCP 10.9.9.9:80",
        ),
        ("-A -t 10.9.9.9:80 -s", "line 1"),
        ("-A -t www.example.net:http -s rr", "is a name.*ipvsadm -Sn"),
        ("-A -t 10.9.9.9:80 -s rr -b sh-port", "rr has no flag 'sh-port'"),
        ("-D -t 10.9.9.9:80", "-D is not an option"),
        ("-A -t 10.9.9.9:80 -u 10.9.9.9:80", "needs exactly one of"),
        ("-A -t 10.9.9.9:80\n-a -t 10.9.9.9:80 -r 10.1.1.1 -m -g", "only one .* -m, -g"),
        ("-A -t 10.9.9.9:80\n-a -t 10.9.9.9:80 -r 10.1.1.1 -w -1", "not a number from 0"),
        ("-A -t 10.9.9.9:80\n-a -t 10.9.9.9:80", "option -r is missing"),
        ("-A -t 10.9.9.9:80 -s 'rr", "line 1"),
        ("-A -t 10.9.9.9", "lacks a port"),
        ("-A -f 0 -s rr", "not a number from 1"),
        ("-A -t 10.9.9.9:80 -p -M 255.0.255.0", "line 1: .*'255.0.255.0' is not a netmask"),
        ("-A -t [fd00::9]:80 -p -M 129", "line 1: .*'129' is not an IPv6 prefix length"),
    ],
)
def test_a_line_that_is_none_is_named(text, said):
    with pytest.raises(ParseError, match=said):
        ipvsadm.parse(text)


@pytest.mark.parametrize(
    ("step", "command"),
    [
        (Step(Verb.NEW, WEB), "ipvsadm -A -t 10.9.9.9:80 -s rr"),
        (Step(Verb.SET, replace(WEB, scheduler="sh")), "ipvsadm -E -t 10.9.9.9:80 -s sh"),
        (Step(Verb.DEL, WEB), "ipvsadm -D -t 10.9.9.9:80"),
        (
            Step(Verb.SET, Destination("fd00::2", 80, "dr", 0), WEB),
            "ipvsadm -e -t 10.9.9.9:80 -r '[fd00::2]:80' -g -w 0",
        ),
        (
            Step(Verb.DEL, Destination("10.1.1.1", 80, "dr"), WEB),
            "ipvsadm -d -t 10.9.9.9:80 -r 10.1.1.1:80",
        ),
        (Step(Verb.SET, Timeouts(900, 120, 300)), "ipvsadm --set 900 120 300"),
        (Step(Verb.DEL, SyncDaemon("master", "lo")), "ipvsadm --stop-daemon master"),
        (
            Step(Verb.NEW, SyncDaemon("master", "lo", 3, 1000)),
            (
                "ipvsadm --start-daemon master --mcast-interface lo --syncid 3 --sync-maxlen 1000 "
                "--mcast-group 224.0.0.81 --mcast-port 8848 --mcast-ttl 1"
            ),
        ),
    ],
)
def test_steps_as_commands(step, command):
    """As ipvsadm(8) has them."""
    assert ipvsadm.command(step) == command


def only(text):
    (service,) = ipvsadm.parse(text).services
    return service


@pytest.mark.parametrize(
    ("text", "port"),
    [("-A -t 10.0.0.1:http", 80), ("-A -t [fd00::1]:https", 443), ("-A -u 10.0.0.1:domain", 53)],
)
def test_names_of_services_are_those_of_etc_services(text, port):
    assert only(text).port == port


def test_an_unknown_name_of_a_service_says_what_to_give():
    with pytest.raises(ParseError, match="no-such-name is neither a port nor a tcp service"):
        ipvsadm.parse("-A -t 10.0.0.1:no-such-name")


@pytest.mark.parametrize("scheduler", ["sh", "mh", "rr", "wlc"])
def test_numbered_flags_are_those_of_every_scheduler(scheduler):
    # include/uapi/linux/ip_vs.h: IP_VS_SVC_F_SCHED1 to 3
    assert only(f"-A -t 10.0.0.1:80 -s {scheduler} -b flag-1,flag-2").flags == 0x08 | 0x10
    assert only(f"-A -t 10.0.0.1:80 -s {scheduler} -b flag-3").flags == 0x20


@pytest.mark.parametrize(("text", "mark"), [("-1", 2**32 - 1), ("-2147483648", 2**31)])
def test_ipvsadm_writes_large_marks_as_negative_numbers(text, mark):
    assert only(f"-A -f {text} -s rr").port == mark


@pytest.mark.parametrize("text", ["-0", "-4294967296", "-2147483649", "--5"])
def test_other_negative_marks_are_refused(text):
    with pytest.raises(ParseError):
        ipvsadm.parse(f"-A -f {text} -s rr")
