"""A diagnosis as its reader sees it."""

from dirtune.analyse.doctor import Diagnosis, Feature, Ladder, Obstacle, Rung
from dirtune.render import doctor

BCC = Obstacle("bcc's Python module is not here", "apt install python3-bpfcc")
IPVS = Obstacle("IPVS is not loaded", "modprobe ip_vs")
NOTE = Obstacle("no BTF", "boot another kernel")
WAITS = Rung("tracepoints", "waits", (Obstacle("no tracepoint", "boot Linux 5.19"),))


def diagnosis(*obstacles):
    return Diagnosis(
        "6.1.0",
        (
            Feature("audit", works=True, what="judge", obstacles=()),
            Feature("probe", works=not obstacles, what="measure", obstacles=obstacles),
        ),
        (
            Ladder(
                "irq",
                "tracefs" if obstacles else "bpf",
                (
                    Rung("bpf", "time of each handler", obstacles),
                    Rung("tracefs", "calls of each handler", ()),
                    Rung("proc", "calls inferred", (Obstacle("below", "not said"),)),
                ),
            ),
            Ladder("locks", "kprobes", (WAITS, Rung("kprobes", "waits for spin locks", ()))),
            Ladder("ipvs", None, (Rung("kprobes", "time", (*obstacles, IPVS)),)),
        ),
        (NOTE,),
    )


def test_each_probe_with_what_it_uses_and_what_keeps_it_from_better():
    assert doctor.table(diagnosis(BCC)).splitlines() == [
        "kernel 6.1.0",
        "audit  yes  judge",
        "probe  no   measure",
        "            bcc's Python module is not here: apt install python3-bpfcc",
        "            irq      tracefs      calls of each handler",
        "            locks    kprobes      waits for spin locks",
        "              tracepoints: no tracepoint: boot Linux 5.19",
        "            ipvs     no           time",
        "              kprobes: IPVS is not loaded: modprobe ip_vs",
        "            no BTF: boot another kernel",
    ]


def test_markdown_has_a_row_for_each_obstacle():
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in doctor.markdown(diagnosis()).splitlines()[2:]
    ]

    assert rows == [
        ["audit", "yes", "", ""],
        ["probe", "yes", "", ""],
        ["probe irq", "bpf", "", ""],
        ["probe locks", "kprobes", "no tracepoint", "`boot Linux 5.19`"],
        ["probe ipvs", "no", "IPVS is not loaded", "`modprobe ip_vs`"],
        ["probe", "note", "no BTF", "`boot another kernel`"],
    ]
