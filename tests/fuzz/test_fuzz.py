"""Broken texts in everything that reads texts: dirtune's own errors, and each within a second.

What is fuzzed is in targets.py. A minute in all here, an hour by `make test-long`; the seed is
given, so what fails fails again (`DIRTUNE_FUZZ_SEED` is another, `DIRTUNE_FUZZ_SECONDS` the time).
"""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dirtune import checks
from dirtune.analyse.rates import wrapped
from dirtune.checks import discovery
from dirtune.collect.interrupts import parse_interrupts
from dirtune.errors import ParseError
from dirtune.snapshot import Snapshot
from tests.fuzz import run, targets

SEED = int(os.environ.get("DIRTUNE_FUZZ_SEED", "1"))
# Shares of a minute, so that several processes of pytest can work on it.
SHARES = ("collect.", "bench.", "audit", "report", "")


def test_every_target_is_in_a_share_and_every_pattern_has_a_name():
    names = targets.everything()

    assert len(names) > 60
    assert all(any(share in name for share in SHARES) for name in names)
    assert not [path for path in targets.paths() if set("*[]{}") & set(path)]


@pytest.mark.parametrize("share", SHARES)
def test_a_minute(share, capsys):
    seconds = float(os.environ.get("DIRTUNE_FUZZ_SECONDS", "60")) / len(SHARES)

    judge(*run.campaign(seconds, SEED, share), capsys)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_an_hour(capsys):
    seconds = float(os.environ.get("DIRTUNE_FUZZ_SECONDS", "3600"))

    judge(*run.campaign(seconds, SEED + 1), capsys)


def judge(counts, faults, capsys):
    with capsys.disabled():
        print(f"\n  {counts.total()} inputs for {len(counts)} readers, {len(faults)} faults")
    assert min(counts.values()) > 0
    assert not faults, "\n\n".join(faults.values())


@pytest.mark.parametrize(
    ("reader", "fault"),
    [
        (lambda _text, _chance: {}["no such key"], "KeyError"),
        (lambda _text, _chance: sum(n * n for n in range(30_000_000)), "takes more than"),
    ],
)
def test_a_fault_is_seen(reader, fault):
    assert fault in run.tried(reader, ("x",), 1)


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


@given(st.lists(ROW, max_size=6), st.integers(0, 2**32 - 1))
def test_an_unrelated_line_changes_no_other_lines_findings(rows, count):
    shared = " 19:  40  IO-APIC  19-fasteoi   aic7xxx, eth0\n"
    more = "".join(f" {30 + n}:  {count}  {chip}   {a}\n" for n, (chip, a) in enumerate(rows))

    alone, among = (found_on_19(f"     CPU0\n{shared}{rest}") for rest in ("", more))

    assert alone == among
    assert [finding.subject for finding in alone] == ["irq 19"]


def found_on_19(text):
    outcomes = checks.run(discovery.all_checks(), Snapshot(interrupts=parse_interrupts(text)))
    findings = [f for o in outcomes if o.check.id.startswith("irq/") for f in o.findings]
    return [f for f in findings if f.evidence.get("irq") == "19"]
