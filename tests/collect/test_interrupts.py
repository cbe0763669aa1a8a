import json

import pytest

from dirtune.collect.interrupts import parse_interrupts
from dirtune.errors import ParseError
from tests.real import FIXTURES, index, text_of


def shared(table):
    return [(line.irq, list(line.actions)) for line in table.lines if line.shared]


def truth_of(row):
    return [(line["irq"], line["actions"]) for line in json.loads(row["truth"])]


@pytest.mark.skipif(not FIXTURES.exists(), reason="the collection of real dumps is not here")
class TestRealMachines:
    @pytest.mark.parametrize("row", index(), ids=lambda row: row["path"].split("/")[-1])
    def test_shared_lines_equal_what_was_read_by_hand(self, row):
        try:
            table = parse_interrupts(text_of(row))
        except ParseError:
            assert row["mangled"] == "yes"
        else:
            assert shared(table) == truth_of(row)

    @pytest.mark.parametrize("row", index(), ids=lambda row: row["path"].split("/")[-1])
    def test_header_has_as_many_cpus_as_the_index_says(self, row):
        if row["mangled"] == "yes":
            return
        assert len(parse_interrupts(text_of(row)).cpus) == int(row["nCPU"])


XTPIC = """\
           CPU0       CPU1
  2:          0          0    XT-PIC      cascade
 10:         40          0    XT-PIC      sym53c8xx, eth1
NMI:          0          0   Non-maskable interrupts
ERR:          3
"""


def test_a_row_of_the_pic_has_no_hardware_number():
    line = parse_interrupts(XTPIC).line("10")

    assert (line.counts, line.chip, line.hwirq, line.flow) == ((40, 0), "XT-PIC", None, None)
    assert line.actions == ("sym53c8xx", "eth1")
    assert line.shared
    assert line.total == 40


def test_rows_of_text_are_never_shared_and_may_have_one_count():
    nmi, err = parse_interrupts(XTPIC).lines[-2:]

    assert (nmi.irq, nmi.text, nmi.shared) == ("NMI", "Non-maskable interrupts", False)
    assert err.counts == (3,)


@pytest.mark.parametrize(
    ("tail", "chip", "hwirq", "flow", "actions"),
    [
        ("   IO-APIC  10-fasteoi   a, b", "IO-APIC", 10, "fasteoi", ("a", "b")),
        ("   IO-APIC-level  aic7xxx, eth0", "IO-APIC", None, "level", ("aic7xxx", "eth0")),
        ("    XT-PIC-XT        acpi, eth0", "XT-PIC", None, "XT", ("acpi", "eth0")),
        (" PCI-MSIX-0000:00:03.0   1-edge      v", "PCI-MSIX-0000:00:03.0", 1, "edge", ("v",)),
        ("  SiFive PLIC 412 Level     s:rx err", "SiFive PLIC", 412, "Level", ("s:rx err",)),
        ("  PCH PIC   8  ls2x-i2c, ls2x-i2c", "PCH PIC", 8, None, ("ls2x-i2c", "ls2x-i2c")),
        ("   XT-PIC  3w-xxxx, eth0", "XT-PIC", None, None, ("3w-xxxx", "eth0")),
        ("   IO-APIC-edge    ", "IO-APIC", None, "edge", ()),
        ("         -  mt_emi_mpu, spc", "-", None, None, ("mt_emi_mpu", "spc")),
        ("", None, None, None, ()),
    ],
)
def test_chip_number_flow_and_actions(tail, chip, hwirq, flow, actions):
    (line,) = parse_interrupts(f"   CPU0\n 10:         42{tail}\n").lines

    assert (line.chip, line.hwirq, line.flow, line.actions) == (chip, hwirq, flow, actions)


def test_columns_are_named_by_the_header_and_a_wide_count_may_touch_its_label():
    table = parse_interrupts("   CPU0   CPU2\nIPI0:2768808080 2844211768       Rescheduling\n")

    assert table.cpus == (0, 2)
    assert table.lines[0].counts == (2768808080, 2844211768)


def test_s390_rows_have_no_chip_and_one_label_may_come_twice():
    text = " CPU0\nEXT: 1\nI/O: 3\nCLK: 5  [EXT] Clock Comparator\nLOC: 7 a\nLOC: 9 b\n"

    assert [line.irq for line in parse_interrupts(text).lines] == [
        "EXT",
        "I/O",
        "CLK",
        "LOC",
        "LOC",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no header"),
        (" 10:   1  XT-PIC  eth0\n", "line 1: a row before any header"),
        ("  CPU0 CPU1\n 10:   1  XT-PIC  eth0\n", "line 2: not one count for each of 2 CPUs"),
        ("  CPU0\n 10:   1   2  XT-PIC  eth0\n", "line 2: more counts than"),
        ("  CPU0\n 10:   1900GIC-0  eth0\n", "line 2: not one count"),
        ("  CPU0\n 44:   1  PLIC   0\nEdge   PCIe PME, aerdrv\n", "line 3: the row of irq 44"),
    ],
)
def test_what_cannot_be_read_is_refused_by_line(text, said):
    with pytest.raises(ParseError, match=said):
        parse_interrupts(text)
