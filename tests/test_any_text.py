"""Any text in any source gives a value or one kind of error; counters wrap; lines are apart."""

import dataclasses
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from dirtune import checks, snapshot
from dirtune.analyse.rates import wrapped
from dirtune.checks import Status
from dirtune.collect.interrupts import parse_interrupts
from dirtune.errors import ParseError
from dirtune.host import RecordedHost
from dirtune.snapshot import Snapshot

# A name for each wildcard, of the kind that stands there on a real host.
NAMES = (
    (r"\*:\*:\*\.\*", "0000:00:03.0"),
    (r"cpu\[0-9\]\*", "cpu0"),
    (r"node\[0-9\]\*", "node0"),
    (r"state\[0-9\]\*", "state0"),
    (r"proc/\[0-9\]\*", "proc/77"),
    (r"irq/\[0-9\]\*", "irq/19"),
    (r"(rx|tx)-\*", r"\1-0"),
    (r"msi_irqs/\*", "msi_irqs/26"),
    (r"\[glckS\]", "g"),
    (r"input\*", "input0"),
    (r"timeout_\*", "timeout_close"),
    (r"\*\.conf", "a.conf"),
    (r"\*", "eth0"),
)
TEXTS = "/cmd/ethtool/{}/eth0"


def named(pattern):
    for wildcard, name in NAMES:
        pattern = re.sub(wildcard, name, pattern)
    return pattern


PATHS = (*map(named, snapshot.patterns_of()), *(TEXTS.format(o) for o in "glckS"))
CHECKS = checks.all_checks()
# Words that get a parser past its first look at a file.
WORDS = ["CPU0", "10:", "cpu", "0x1f", "-1", "4294967295", "Iface", "TCP", "->", "0:", "{}", "kB"]
LINES = st.lists(
    st.one_of(st.sampled_from(WORDS), st.integers(-9, 2**40).map(str), st.text(max_size=8)),
    max_size=12,
).map(" ".join)
TEXT = st.one_of(st.text(max_size=200), st.lists(LINES, max_size=8).map("\n".join))


def test_no_pattern_is_left_unnamed():
    assert not [path for path in PATHS if set("*[]{}") & set(path)]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PATHS), TEXT)
def test_any_text_is_a_value_or_an_error_that_names_its_source(path, text):
    host = RecordedHost({path: text}, {})

    taken = snapshot.take(host)  # raises nothing

    assert not [why for why in taken.errors.values() if not why]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(PATHS), TEXT, min_size=3, max_size=30), st.data())
def test_no_check_fails_on_any_text(files, data):
    later = {path: data.draw(TEXT) for path in files}
    samples = (RecordedHost(files, {}, taken_s=1.0), RecordedHost(later, {}, taken_s=6.0))

    outcomes = checks.run(CHECKS, snapshot.take_all(samples))

    assert [o.reason for o in outcomes if o.status is Status.ERROR] == []


@given(st.text(max_size=300))
def test_a_table_of_interrupts_is_read_or_refused(text):
    try:
        parse_interrupts(f"   CPU0  CPU1\n{text}")
    except ParseError as error:
        told = str(error)
    else:
        told = "/proc/interrupts: line 0: nothing to tell"

    assert re.match(r"/proc/interrupts: line \d+: ", told)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**31))
def test_a_counter_may_wrap_once(then, grown):
    assert wrapped(then, (then + grown) % 2**32) == grown


ROW = st.tuples(
    st.sampled_from(["PCI-MSI 1048576-edge", "IO-APIC  20-fasteoi", "IO-APIC   5-edge"]),
    st.sampled_from(["nvme0q1", "eth9", "ahci", "uhci_hcd:usb1", "snd_hda_intel", "i8042"]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROW, max_size=6), st.integers(0, 2**32 - 1))
def test_an_unrelated_line_changes_no_other_lines_findings(rows, count):
    shared = " 19:  40  IO-APIC  19-fasteoi   aic7xxx, eth0\n"
    more = "".join(f" {30 + n}:  {count}  {chip}   {a}\n" for n, (chip, a) in enumerate(rows))

    alone, among = (found_on_19(f"     CPU0\n{shared}{rest}") for rest in ("", more))

    assert alone == among
    assert [finding.subject for finding in alone] == ["irq 19"]


def found_on_19(text):
    taken = Snapshot(interrupts=parse_interrupts(text))
    outcomes = checks.run(CHECKS, dataclasses.replace(taken))
    findings = [f for o in outcomes if o.check.id.startswith("irq/") for f in o.findings]
    return [f for f in findings if f.evidence.get("irq") == "19"]
