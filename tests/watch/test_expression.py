"""The grammar of conditions; what each means is written down by hand here."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dirtune.errors import NotPossible
from dirtune.watch.expression import SETS, parse, watched

READ = {
    "softnet.dropped > 0/s for 2 s": ("softnet.dropped", ">", 0, None, 2, None),
    "cpu.softirq > 90 % on any": ("cpu.softirq", ">", 90, "any", 0, None),
    "cpu.softirq>=90% on cpu 3": ("cpu.softirq", ">=", 90, "3", 0, None),
    "cpu.idle < 5 % on CPU11 for 500 ms": ("cpu.idle", "<", 5, "11", 0.5, None),
    "ipvs.connections < 100/s after 5000/s": ("ipvs.connections", "<", 100, None, 0, 5000),
    "conntrack.used > 90 %": ("conntrack.used", ">", 90, None, 0, None),
    "conntrack.entries <= 1.5": ("conntrack.entries", "<=", 1.5, None, 0, None),
    "irq 24 > 50000/s": ("irq 24", ">", 50000, None, 0, None),
    "keepalived.delay > 1 s": ("keepalived.delay", ">", 1, None, 0, None),
    "keepalived.delay > 250 ms": ("keepalived.delay", ">", 0.25, None, 0, None),
    "net.rx_dropped > 10/s on eth0.100 for 1 min": (
        *("net.rx_dropped", ">", 10, "eth0.100", 60, None),
    ),
    "tcpext.listendrops > 0/s": ("TcpExt.ListenDrops", ">", 0, None, 0, None),
    "ipvs.connections < 1/s for 3 s after 9/s": ("ipvs.connections", "<", 1, None, 3, 9),
}
REFUSED = {
    "drop": "Did you mean drops?",
    "softnet.dropped": "Write softnet.dropped > 0/s",
    "softnet.drops > 0/s": "softnet.dropped",
    "softnet.dropped > 0": "wrong unit",
    "softnet.dropped > 5 %": "number of events per second",
    "cpu.softirq > 90/s": "percentage",
    "cpu.softirq > 101 %": "at most 100",
    "cpu.softirq > 100 %": "at most 100",
    "ipvs.connections < 0/s": "never less than 0",
    "ipvs.connections > 1/s on any": "Leave out the clause on",
    "softnet.dropped > 0/s fro 2 s": "Did you mean for?",
    "softnet.dropped > 0/s for 2": "is not a time",
    "softnet.dropped > 0/s for": "The end of the condition is not a time",
    "softnet.dropped > 0/s for 2 s for 3 s": "is given twice",
    "softnet.dropped > 0/s on eth0": "number of a CPU",
    "softnet.dropped > nan/s": "is not a number",
    "softnet.dropped > -1/s": "is not a number",
    "softnet.dropped > 1e3/s": "is not a number",
    "softnet.dropped > 99999999999999999999/s": "larger than",
    "irq eth0 > 5/s": "No such metric",
    "> 5/s": "No such metric",
    "keepalived.delay > 1": "a time, such as 1 s",
    "keepalived.delay > 1 h": "a time, such as 1 s",
    "x" * 201: "at most 200",
    "": "No such set",
}


@pytest.mark.parametrize("text", READ)
def test_a_condition_is_read(text):
    found = parse(text)

    fields = found.metric.name, found.op, found.limit, found.on, found.for_s, found.after
    assert fields == READ[text]


@pytest.mark.parametrize("text", REFUSED)
def test_a_wrong_condition_is_refused_with_the_near_word(text):
    with pytest.raises(NotPossible) as refusal:
        watched(text)

    assert REFUSED[text] in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", SETS)
def test_each_set_stands_for_conditions(name):
    assert len(watched(name)) == len(SETS[name])
    assert all(each.of_set and each.when == name for each in watched(name))


WORDS = st.sampled_from(
    [
        "softnet.dropped",
        "irq",
        "24",
        ">",
        "<",
        "=",
        "0/s",
        "90",
        "%",
        "on",
        "any",
        "for",
        "after",
        "s",
        "cpu",
        "-1",
        "é",
    ]
)


@given(st.lists(WORDS | st.text(max_size=5), max_size=12).map(" ".join))
def test_any_text_is_read_or_refused(text):
    with suppress(NotPossible):
        assert watched(text)
