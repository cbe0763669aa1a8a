import dataclasses
import io
import ipaddress
import os
import re
import tarfile
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dirtune.analyse.redact import Redactor, sources
from dirtune.analyse.redact.addresses import Addresses, networks
from dirtune.archive import load, save
from dirtune.checks import Severity
from dirtune.cli import main
from dirtune.cli.snapshot import redacted
from dirtune.collect.addresses import (
    parse_fib_trie,
    parse_if_inet6,
    parse_ip_addr,
    parse_local_networks,
)
from dirtune.collect.ip_vs import parse_services
from dirtune.collect.routes import parse_routes, route_to
from dirtune.host import RecordedHost
from dirtune.jobs import snapshots
from dirtune.snapshot import FIELDS, take
from tests.analyse import private_host
from tests.analyse.redacting import audit, differences, of_tree
from tests.fuzz import targets

KEY = b"0123456789abcdef"
CASES = Path(__file__).parents[2] / "../shared/cases"
NEEDS_CASES = pytest.mark.skipif(not CASES.exists(), reason="the collection of cases is not here")
ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0104030A	0003	0	0	0	00000000	0	0	0
eth0	0004030A	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth1	0000000A	0904030A	0003	0	0	0	000000FF	0	0	0
"""
TRIE = """\
  +-- 10.3.4.0/24 2 0 2
     |-- 10.3.4.9
        /32 host LOCAL
     |-- 10.3.5.64
        /26 host LOCAL
"""
NETWORKS = (
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.3.4.0/24",
    "10.3.4.9/32",
    "10.3.5.64/26",
    "10.32.0.0/13",
)
SERVICES = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A030409:0050 rr
  -> 0A030407:0050      Masq    1      0          0
FWM  00000007 rr
TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 rr
"""


def alone(text, key=KEY):
    return Addresses(key).text(text)


def redactor(texts, paths=()):
    return Redactor(KEY, (*texts, *paths), texts.items())


@pytest.mark.parametrize(
    "kept",
    [
        *("0.0.0.0", "127.0.0.53", "224.0.0.18", "255.255.255.0", "255.255.255.255"),
        *("::", "::1", "ff02::1", "12:34:56", "0000:00:1f.3", "00:00:00:00:00:00", "6.1.0"),
        *("at:12:34:56", "pci:0000:00:1f.3", "e1000:0000:00:19.0", "a::b::c"),
    ],
)
def test_what_is_nobodys_secret_stays(kept):
    assert alone(f"a {kept} b") == f"a {kept} b"


@pytest.mark.parametrize(
    "address",
    [
        *("198.51.100.7", "10.3.4.9", "2001:db8::7", "fe80::5054:ff:fe12:3456"),
        *("::ffff:10.3.4.9", "::10.3.4.9", "52:54:00:12:34:56", "5254.0012.3456"),
        "52-54-00-12-34-56",
    ],
)
@pytest.mark.parametrize(
    "around",
    ["{}", "{}/24 x", "src={},", "[{}]", "via {} dev eth0", "is {}.", "{}: up", "addr:{}"],
)
def test_an_address_gets_another(address, around):
    result = alone(around.format(address))

    assert address not in result
    assert "10.3.4" not in result
    assert result == around.format(alone(address))


def test_shared_prefixes_stay_shared():
    numbers = [int.from_bytes(os.urandom(3), "big") for _ in range(40)]
    addresses = [ipaddress.IPv4Address((10 << 24) + n) for n in numbers]
    found = [ipaddress.IPv4Address(alone(str(a))) for a in addresses]

    for i, (before, after) in enumerate(zip(addresses, found, strict=True)):
        assert after in ipaddress.IPv4Network("10.0.0.0/8")
        for other, others in zip(addresses[:i], found[:i], strict=True):
            same = (int(before) ^ int(other)).bit_length()
            assert (int(after) ^ int(others)).bit_length() == same


@given(st.sets(st.ip_addresses(v=6), min_size=2, max_size=6))
def test_ipv6_prefixes_stay_shared_and_no_two_addresses_become_one(addresses):
    pairs = Addresses(KEY)
    numbers = [(int(a), pairs.v6(int(a))) for a in addresses if not a.is_multicast]

    for at, (before, after) in enumerate(numbers):
        for other, others in numbers[:at]:
            assert (before ^ other).bit_length() == (after ^ others).bit_length()


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "126.1.1.1", "203.0.113.4", "192.0.2.1", "11.0.0.1"]
)
def test_a_public_address_stays_public(address):
    found = ipaddress.IPv4Address(alone(address))

    assert not found.is_loopback
    assert not found.is_multicast
    assert found not in ipaddress.IPv4Network("10.0.0.0/8")


@pytest.mark.parametrize("address", ["fe80::5054:ff:fe12:3456", "fe80::1"])
def test_a_link_local_address_stays_one_as_the_checks_know_it(address):
    assert alone(address).startswith("fe80::")
    assert alone(address) != address


def test_hexadecimal_forms_agree_with_the_dotted_ones():
    row = f"{int(ipaddress.IPv6Address('2001:db8::1')):032x} 02 40 00 80 eth0\n"
    texts = {
        "/proc/net/fib_trie": TRIE,
        "/proc/net/route": ROUTES,
        "/cmd/nft": "ip saddr 10.32.0.0/13\n",
        "/proc/net/ip_vs": SERVICES,
        "/proc/net/if_inet6": row,
    }
    assert networks(texts.items()) == set(map(ipaddress.IPv4Network, NETWORKS))
    each = redactor(texts)
    after = {path: each.text(path, text) for path, text in texts.items()}
    dotted = Addresses(KEY, networks(texts.items()))
    for network in NETWORKS:
        assert ipaddress.IPv4Network(dotted.text(network)) is not None
    vip, server = map(dotted.text, ("10.3.4.9", "10.3.4.7"))
    (service, mark, six) = parse_services(after["/proc/net/ip_vs"])
    routes, trie = parse_routes(after["/proc/net/route"]), after["/proc/net/fib_trie"]

    assert (service.address, service.destinations[0].address) == (vip, server)
    assert mark.fwmark == 7
    assert route_to(routes, vip).gateway is None
    assert route_to(routes, dotted.text("10.9.9.9")).gateway == vip
    assert route_to(routes, "8.8.8.8").gateway == dotted.text("10.3.4.1")
    assert parse_fib_trie(trie) == {vip}
    assert len(parse_local_networks(trie)) == 1
    assert parse_if_inet6(after["/proc/net/if_inet6"]) == {six.address}
    assert six.address == dotted.text("2001:db8::1") != "2001:db8::1"


def test_networks_keep_their_length():
    row = "2: eth0    inet 10.3.4.9/24 brd 10.3.4.255 scope global eth0\n"
    (found,) = parse_ip_addr(redactor({"/cmd/ip-addr": row}).text("/cmd/ip-addr", row))

    assert (found.prefix, found.interface) == (24, "eth0")
    assert found.address != "10.3.4.9"


def test_one_card_has_one_stand_in_in_every_spelling():
    whole = alone("52:54:00:12:34:56 52-54-00-12-34-56 5254.0012.3456 01-52-54-00-12-34-56")

    assert whole == "02:00:00:00:00:01 02-00-00-00-00-01 0200.0000.0001 01-02-00-00-00-00-01"


def gzip_name(raw):
    """Return the file's name in the header of gzip (RFC 1952), "" without one."""
    has_name, seconds = raw[3] & 8, int.from_bytes(raw[4:8], "little")
    assert seconds == 0, "the hour"
    return raw[10:].partition(b"\0")[0].decode("latin-1") if has_name else ""


def unpacked(samples, tmp_path):
    """Return all that an archive holds, paths and links and contents, as lower-case text."""
    save(samples, tmp_path / "zqarchive.tar.gz")
    raw = (tmp_path / "zqarchive.tar.gz").read_bytes()
    parts = [gzip_name(raw)]
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        for member in archive:
            parts += [
                member.name,
                member.linkname,
                member.uname,
                member.gname,
                str(member.pax_headers),
            ]
            file = archive.extractfile(member) if member.isfile() else None
            parts.append(file.read().decode("utf-8", "backslashreplace") if file else "")
    return "\n".join(parts).lower()


def test_nothing_that_names_the_site_is_left_anywhere(tmp_path):
    before = private_host.samples()
    whole = unpacked(redacted(before), tmp_path)
    bare = re.sub(r"[:. -]", "", whole)

    for word in (*private_host.WORDS, *map(str.lower, private_host.spellings())):
        where = whole.find(word)
        assert where < 0, f"{word}: {whole[max(0, where - 80) : where + 40]!r}"
    assert private_host.BARE not in bare
    assert len(redacted(before)[1].files) == len(before[1].files)


def test_the_words_that_are_looked_for_are_there_without_redaction(tmp_path):
    whole = unpacked(private_host.samples(), tmp_path)
    there = {word for word in map(str.lower, private_host.spellings()) if word in whole}

    assert "zq" in whole
    assert len(there) >= 14, there


def test_an_audit_of_a_host_of_private_names_says_the_same():
    samples = private_host.samples()
    before = audit(samples)
    grave = {
        row[0] for row in before if row[2] in {Severity.CRITICAL, Severity.HIGH} and row[1] is None
    }

    assert "irq/shared-with-nic" in grave, "the interface has the host's name"
    assert differences(before, audit(redacted(samples))) == []


def case(path, tmp_path):
    """Return the samples of a case of the collection."""
    if path.name == "two.tar.gz":
        return load(path)
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path)
    folders = sorted(tmp_path.rglob("proc"))
    return of_tree(folders[0].parent if folders else tmp_path)


@NEEDS_CASES
@pytest.mark.parametrize("path", sorted(CASES.glob("*/*.tar.gz")), ids=lambda p: p.parent.name)
def test_an_audit_of_every_case_says_the_same(path, tmp_path):
    samples = case(path, tmp_path)

    assert differences(audit(samples), audit(redacted(samples))) == []


OWN_NAMES = {"eth0": "zq-front", "eth1": "zqback.7", "eth2": "enx5254abcdef01", "lb1": "zqhost"}
KIND_OF_NAME = re.compile(rf"(?<![\w.])(?:{'|'.join(OWN_NAMES)})(?![A-Za-z0-9])")


def renamed(text):
    return KIND_OF_NAME.sub(lambda found: OWN_NAMES[found[0]], text)


def with_own_names(sample):
    """Return a sample whose host and interfaces somebody gave names of their own."""
    return RecordedHost(
        {renamed(path): renamed(text) for path, text in sample.files.items()},
        {renamed(path): renamed(target) for path, target in sample.links.items()},
        frozenset(map(renamed, sample.refused)),
        sample.taken_s,
        {renamed(path): mode for path, mode in sample.modes.items()},
    )


@NEEDS_CASES
@pytest.mark.parametrize("path", sorted(CASES.glob("*/two.tar.gz")), ids=lambda p: p.parent.name)
def test_names_in_paths_and_in_texts_are_replaced_alike(path, tmp_path):
    if path.parent.name == "01d":
        pytest.skip("1,000 services: its audit is slow, and the test above has it")
    samples = tuple(map(with_own_names, load(path)))
    hidden = redacted(samples)

    assert differences(audit(samples), audit(hidden)) == []
    assert "zq" not in unpacked(hidden, tmp_path)
    assert "5254abcdef01" not in unpacked(hidden, tmp_path)


# Names that are words of the texts that they stand in, too.
AWKWARD = (
    *(
        "drop",
        "accept",
        "input",
        "table",
        "comment",
        "dev",
        "irq",
        "timer",
        "cpu",
        "local",
        "main",
    ),
    *("e1000", "e1000e", "ehci_hcd", "nf_conntrack", "virtio3", "usb1", "MSI", "link", "Cafe"),
    *("gre-paris", "tunl7x", "dummy-a", "eth0x", "enp1s0site", "br-0a1b2c3d", "a.77", "beef"),
    *("10.1.2.3", "n1", "host1", "word1", "z1", "x:y", "00:03.0", "down", "is", "0000"),
)


@settings(max_examples=40)
@given(
    st.one_of(
        st.sampled_from(AWKWARD),
        # Not with a mark at its end: the comparison could not tell it from the sentence's own.
        st.from_regex(r"[a-zA-Z]([a-zA-Z0-9_.-]{0,8}[a-zA-Z0-9])?", fullmatch=True),
    )
)
def test_whatever_a_host_and_its_interface_are_called_an_audit_says_the_same(name):
    def called(sample):
        texts = {path: text.replace("zqhost7", name) for path, text in sample.files.items()}
        links = {path: to.replace("zqhost7", name) for path, to in sample.links.items()}
        return RecordedHost(
            {path.replace("zqhost7", name): text for path, text in texts.items()},
            {path.replace("zqhost7", name): to for path, to in links.items()},
            sample.refused,
            sample.taken_s,
        )

    samples = tuple(map(called, private_host.samples()))

    assert differences(audit(samples), audit(redacted(samples))) == []


def shape(value):
    """Return a value without its words, but with how many there are and all numbers."""
    result = value
    if isinstance(value, ipaddress.IPv4Network):
        result = value.prefixlen
    elif isinstance(value, str):
        result = bool(value)
    elif isinstance(value, tuple | list):
        result = [shape(each) for each in value]
    elif isinstance(value, frozenset | set):
        result = len(value)
    elif isinstance(value, dict):
        result = sorted(repr(shape(each)) for each in value.values())
    elif isinstance(value, msgspec.Struct):
        result = shape(msgspec.structs.asdict(value))
    elif dataclasses.is_dataclass(value):
        result = [shape(getattr(value, field.name)) for field in dataclasses.fields(value)]
    return result


def test_every_source_is_read_as_before():
    before = private_host.samples()
    for old, new in zip(before, redacted(before), strict=True):
        first, second = take(old), take(new)

        assert set(first.errors) == set(second.errors)
        for field in set(FIELDS) - {"settings_files"}:  # a setting that no check reads is left out
            assert shape(getattr(first, field)) == shape(getattr(second, field)), field


def test_redacting_once_more_changes_no_finding():
    once = redacted(private_host.samples())
    twice = redacted(once)

    assert differences(audit(once), audit(twice)) == []


def test_two_redactions_of_one_host_have_no_address_in_common():
    first, second = (
        {str(a) for a in re.findall(r"\b10\.\d+\.\d+\.\d+", s[1].files["/cmd/ip-addr"])}
        for s in (redacted(private_host.samples()), redacted(private_host.samples()))
    )

    assert first
    assert first.isdisjoint(second)


def test_the_command_takes_another_key_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "samples", lambda source: private_host.samples())
    texts = []
    for name in ("a", "b"):
        done = CliRunner().invoke(main, ["snapshot", "--redact", "-o", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        texts.append(load(tmp_path / name)[1].files["/proc/net/ip_vs"])

    assert texts[0] != texts[1]


@pytest.mark.parametrize("path", targets.paths())
def test_every_source_has_a_rule(path):
    assert sources.rule(path) is not None, "say in sources.py what is done to it"


def test_what_has_no_rule_is_left_out():
    (sample,) = redacted((RecordedHost({"/proc/zq": "zq", "/proc/stat": "cpu 1\n"}, {}),))

    assert set(sample.files) == {"/proc/stat"}


UNKNOWN = {
    "/sys/class/net/zqhost7/address": private_host.MAC,
    "/sys/class/net/zqhost7/ifalias": "uplink to zqswitch, port zq7",
    "/sys/class/net/zqhost7/phys_switch_id": f"{private_host.BARE}0001",
    "/sys/class/net/zqhost7/phys_port_name": "zqport1",
    "/sys/class/block/sda/serial": "ZQ123456",
    "/sys/bus/pci/devices/0000:00:10.0/label": "zqslot 4",
    "/sys/kernel/irq/10/actions": "zqhost7-rx-0,zqhost7-tx-0",
    "/proc/sys/net/ipv4/tcp_fastopen_key": "00zq0001-abcdef12-34567890-abcdef12",
    "/proc/sys/net/ipv4/neigh/zqhost7/retrans_time": "100",
    "/proc/sys/net/ipv6/conf/zqhost7/stable_secret": private_host.V6,
}


def test_a_file_that_is_not_known_to_be_safe_is_redacted(tmp_path):
    texts = {path: f"{text}\n" for path, text in UNKNOWN.items()}
    texts["/proc/net/dev"] = f"a\nb\n  {private_host.BRIDGE}: 1 2\n"
    whole = unpacked(redacted((RecordedHost(texts, {}),) * 2), tmp_path)

    for word in (*private_host.WORDS, *map(str.lower, private_host.spellings())):
        assert word not in whole.replace("zqarchive", ""), word
    assert "/phys_port_name" in whole, "it is redacted and not left out"
    assert "100" in whole


NAME = st.text(st.sampled_from("abcdeghnopstw019.-_:@*+é\\'\"$;"), min_size=1, max_size=15).filter(
    lambda name: name not in {".", ".."} and len(name.encode()) <= 15
)


@settings(max_examples=200)
@given(st.sets(NAME, min_size=1, max_size=12))
def test_stand_ins_of_interfaces_are_valid_and_no_two_the_same(names):
    paths = [f"/sys/class/net/{name}" for name in names]
    each = Redactor(KEY, paths, ())
    found = [each.path(path).rpartition("/")[2] for path in paths]

    assert len(set(found)) == len(names)
    for name in found:
        assert 0 < len(name.encode()) <= 15
        assert not re.search(r"[\s/]", name)


@pytest.mark.parametrize(
    "name",
    [
        *("eth0", "ens3", "enp0s16", "enp59s0f0np0", "eno1", "bond0.100", "lo", "kube-ipvs0"),
        *("tunl0", "veth0", "br0", "wlan0", "ib0", "p1p2_0", "vif1.0", "team0", "eth0:1"),
    ],
)
def test_names_that_many_machines_have_stay(name):
    path = f"/sys/class/net/{name}"

    assert Redactor(KEY, [path], ()).path(path) == path


SIZE = 60_000
HOSTILE = (
    *("0", ":", "a:", "1.", "ab-", "-", '"', 'comment "', "00 ", "user=", "iif ", "a-", "/", "x"),
    *("10.0.0.0/", "[fe80::", " - ", "a\n", "| -- 1", "zq1,", "::", "=", '{"a":', "[", "\\", "é"),
)
ONE_OF_EACH = {sources.rule(path): path for path in targets.paths()}


@pytest.mark.parametrize("path", sorted(ONE_OF_EACH.values()))
def test_no_text_costs_more_than_its_length(path):
    names = [f"/sys/class/net/zq{n}" for n in range(50)]
    for part in HOSTILE:
        text = part * (SIZE // len(part))
        began = time.process_time()
        redactor({path: text}, names).text(path, text)

        assert time.process_time() - began < 3, (path, part)


def test_a_card_of_another_namespace_is_named_by_its_queues_alone():
    """Interrupts and threads are the whole machine's, interfaces only this namespace's."""
    texts = {
        "/proc/interrupts": "           CPU0\n 45: 1  PCI-MSI 5-edge  acme-dmz-TxRx-0\n"
        " 46: 1  PCI-MSI 6-edge  i40e-acme1-TxRx-0, eth0-TxRx-1\n",
        "/proc/77/comm": "irq/45-acme-dmz\n",
        "/proc/78/comm": "napi/acme-wan-8\n",
    }
    (found,) = redacted((RecordedHost(texts, {}),))

    assert "acme" not in "".join(found.files.values())
    assert "eth0-TxRx-1" in found.files["/proc/interrupts"]
