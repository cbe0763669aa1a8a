"""The negative control: who is bound anew for which order, and, in the lab, what comes out."""

import json
import os
import subprocess
import sys

import pytest

from dirtune.collect.interrupts import parse_interrupts
from dirtune.errors import LabError
from dirtune.lab import handler_order
from dirtune.snapshot import take
from tests.change.machine import build, put_line

LINE = "           CPU0\n 10:   4000    XT-PIC      {}\n"


@pytest.mark.parametrize(
    ("actions", "place"),
    [
        ("i801_smbus, sym53c8xx, enp0s16", "last"),
        ("enp0s16, i801_smbus, sym53c8xx", "first"),
        ("i801_smbus, enp0s16, sym53c8xx", "between"),
    ],
)
def test_where_the_cards_handler_stands(actions, place):
    line = parse_interrupts(LINE.format(actions)).line("10")

    assert handler_order.place(line, "enp0s16") == place


def test_partners_are_bound_anew_to_have_it_first_and_the_card_to_have_it_last(tmp_path):
    found = handler_order.shared(take(build(tmp_path)))

    assert (found.irq, found.card) == ("10", "enp0s16")
    first = [row.split(">")[0].split()[1] for row in found.scripts["first"].splitlines()[1:]]
    functions = ("0000:00:1f.3", "0000:00:14.0", "0000:00:15.0")
    assert first == [function for function in functions for _ in range(2)]
    last = found.scripts["last"]
    assert "echo 0000:00:10.0 > /sys/bus/pci/drivers/e1000/unbind" in last
    assert "addr show dev enp0s16" in last
    assert "sym53c8xx" not in last


def test_the_card_keeps_its_addresses_where_udev_is_quicker_to_rename_it(tmp_path):
    script = handler_order.shared(take(build(tmp_path / "machine"))).scripts["last"]
    pci, net = tmp_path / "pci", tmp_path / "pci/devices/0000:00:10.0/net"
    (pci / "drivers/e1000").mkdir(parents=True)
    (net / "eth0").mkdir(parents=True)
    # Between the script's look at the name and its own attempt, udev has renamed it.
    ip = """ip() { case "$*" in
    "-o -4 addr show dev enp0s16") echo "2: enp0s16    inet 198.18.0.1/17 scope global" ;;
    "link set dev eth0 name enp0s16")
        mv $net/eth0 $net/enp0s16; echo Cannot find device >&2; false ;;
    *) echo "$*" ;;
    esac; }
    """
    argv = ["sh", "-c", f"net={net}; {ip}{script.replace('/sys/bus/pci', str(pci))}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)

    assert done.returncode == 0, done.stderr
    asked = ["addr add 198.18.0.1/17 dev enp0s16", "link set dev enp0s16 up"]
    assert done.stdout.splitlines() == asked


def test_a_card_alone_on_its_line_has_no_order(tmp_path):
    machine = build(tmp_path)
    put_line(machine.root, ["enp0s16"])

    with pytest.raises(LabError, match="noapic or crowded"):
        handler_order.shared(take(machine))


@pytest.mark.long
def test_the_order_is_measured_and_said_whatever_it_is(tmp_path):
    argv = [sys.executable, "-m", "dirtune", "lab", "control", "--out", str(tmp_path)]
    lab = os.environ | {"DIRTUNE_LAB": str(tmp_path / "lab")}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=lab)

    assert done.returncode == 0, done.stderr
    (run,) = (json.loads(path.read_text()) for path in tmp_path.glob("*/run.json"))
    found = run["comparisons"][0]
    assert found["pairs"] == 8
    assert run["verdict"] in done.stdout
    lines = [step["note"] for step in run["steps"] if step["note"].startswith("arm ")]
    assert all(line.endswith(", enp0s16") for line in lines if line.startswith("arm A"))
    assert all(": enp0s16, " in line for line in lines if line.startswith("arm B"))
    # The handlers' calls are the same in both orders: what differs is noise, or worth a look.
    assert found["verdict"] in {"equivalent", "inconclusive"}, run["verdict"]
