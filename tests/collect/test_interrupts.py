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


_VIF = ("vif1.0-q0-tx",)
_ACPI = ("acpi", "eth0")
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
        # Xen on x86 and on ARM, and sparc: arch/x86/pci/xen.c, drivers/xen/events/events_base.c,
        # arch/sparc/kernel/irq_64.c give the flows their names.
        ("   xen-dyn    -event     eth0", "xen-dyn", None, "event", ("eth0",)),
        ("   xen-dyn     Edge    -event     eth0", "xen-dyn", None, "event", ("eth0",)),
        ("  xen-dyn-lateeoi    -event     vif1.0-q0-tx", "xen-dyn-lateeoi", None, "event", _VIF),
        ("  xen-percpu    -virq      timer0", "xen-percpu", None, "virq", ("timer0",)),
        ("  xen-pirq   9-ioapic-level  acpi, eth0", "xen-pirq", 9, "ioapic-level", _ACPI),
        ("  xen-pirq    -ioapic-level  acpi, eth0", "xen-pirq", None, "ioapic-level", _ACPI),
        ("  xen-pirq    -msi-x     eth3-TxRx-0", "xen-pirq", None, "msi-x", ("eth3-TxRx-0",)),
        ("  xen-pirq-ioapic-level  acpi, eth0", "xen-pirq", None, "ioapic-level", _ACPI),
        ("   xen-percpu-virq      timer0", "xen-percpu", None, "virq", ("timer0",)),
        ("   xen-percpu     timer0", "xen-percpu", None, None, ("timer0",)),
        ("  Phys-irq-level     acpi, eth0", "Phys-irq", None, "level", _ACPI),
        ("     sun4u  -IVEC     eth0, aic7xxx", "sun4u", None, "IVEC", ("eth0", "aic7xxx")),
        ("      XICS Level     eth0, usb1", "XICS", None, "Level", ("eth0", "usb1")),
        ("       GIC  27 Edge     twd", "GIC", 27, "Edge", ("twd",)),
        ("       GIC  27 Edge    -percpu    twd", "GIC", 27, "percpu", ("twd",)),
        ("   its-fsl-msi  12  dpio.3", "its-fsl-msi", 12, None, ("dpio.3",)),
        ("   IO-APIC-level  3 Com, eth0", "IO-APIC", None, "level", ("3 Com", "eth0")),
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
        ("", ": the header"),
        (" 10:   1  XT-PIC  eth0\n", "line 1: .*header"),
        ("  CPU0 CPU1\n 10:   1  XT-PIC  eth0\n", "line 2: .*count for each of 2 CPUs"),
        ("  CPU0\n 10:   1   2  XT-PIC  eth0\n", "line 2: .*more counts than"),
        ("  CPU0\n 10:   1900GIC-0  eth0\n", "line 2: .*count for each of 1 CPUs"),
        ("  CPU0\n 10:   5  XT-PIC  aic7xxx,", "line 2: the row of irq 10 ends in a comma"),
        ("  CPU0\n 10:   5  XT-PIC  aic7xxx,\n eth0\n", "line 2: the row of irq 10 ends"),
        ("  CPU0\n 10: " + "9" * 5000 + "  XT-PIC  eth0\n", "line 2: .*digits"),
        ("  CPU0\n 10: 1  XT-PIC " + "9" * 5000 + "  eth0\n", "line 2: .*digits"),
        ("  CPU0\nNMI: " + "9" * 5000 + "\n", "line 2: .*digits"),
        ("  CPU" + "9" * 5000 + "\n", ": the header"),
        ("  CPU0\n 10: 5 XT-PIC aic7xxx, eth0\n", "line 2: .*chip and actions"),
        ("  CPU0\n 10:   5  XT-PIC  ", "cut off in the row of irq 10"),
        ("  CPU0\n 10:   5  XT-PIC  " + "a " * 600_000 + "\n", "line 2: .*longer than"),
        ("  CPU0\n 44:   1  PLIC   0\nEdge   PCIe PME, aerdrv\n", "line 3: the row of irq 44"),
    ],
)
def test_what_cannot_be_read_is_refused_by_line(text, said):
    with pytest.raises(ParseError, match=said):
        parse_interrupts(text)


def test_a_last_row_without_its_newline_may_have_lost_handlers():
    whole = "  CPU0\n 10:   5  XT-PIC  aic7xxx, eth0\n 11:   5  XT-PIC  ahci"
    one, two = parse_interrupts(whole).lines

    assert (one.cut, one.shared) == (False, True)
    assert (two.cut, two.shared, two.actions) == (True, None, ("ahci",))
    assert parse_interrupts(whole + "\n").line("11").shared is False
    assert parse_interrupts(whole + ", eth1").line("11").shared is True
    assert not parse_interrupts(whole + "\nERR:   0").line("11").cut


def test_the_widest_row_a_kernel_can_print_is_read():
    cpus = range(8192)
    header = "".join(f"CPU{cpu:<8}" for cpu in cpus)
    counts = " ".join("4294967295" for _ in cpus)
    handlers = tuple(f"a handler with the number {n:04}" for n in range(128))
    (line,) = parse_interrupts(
        f"{header}\n10: {counts} GICv3 1 Level  {', '.join(handlers)}\n"
    ).lines

    assert len(line.counts) == 8192
    assert line.actions == handlers
