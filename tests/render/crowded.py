"""A run such as the lab's crowded scenario leaves behind; every figure is made up."""

from dirtune.analyse.handlers import HandlerCalls, HandlerWindow
from dirtune.analyse.run import (
    Comparison,
    CpuShare,
    Forecast,
    Latency,
    NodeCpu,
    Run,
    Step,
    Trial,
)

BEFORE = (2210.0, 2185.0, 2302.0, 2255.0, 2190.0, 2241.0, 2278.0, 2203.0)
AFTER = (1804.0, 1762.0, 1851.0, 1799.0, 1773.0, 1880.0, 1812.0, 1755.0)


def node(name, role, user, system, idle):
    states = {"user": CpuShare(*user), "system": CpuShare(*system), "idle": CpuShare(*idle)}
    if role == "director":
        states["softirq"] = CpuShare(12.5, 2.25)
    source = "/proc/stat" if role == "director" else "cgroup"
    return NodeCpu(name, role, states, {}, source, 15)


def trial(pair, place, arm, cpu_us, *, kind="judged", validity="valid", nodes=()):
    return Trial(
        id=f"p{pair:02}-{place}-{arm}",
        arm=arm,
        kind=kind,
        pair=pair,
        started="2026-01-02T10:00:00Z",
        offered_rate=150.0,
        window_s=15.0,
        intended=2250,
        attempted=2250,
        replied=2249,
        failed={"timeout": 1, "refused": 0},
        reply_rate=149.93,
        latency=Latency(2.1, 1.9, 8.75),
        validity=validity,
        reason=None if validity == "valid" else "host steal 31 % against 9 % in its pair",
        metrics={"cpu_us_per_connection": cpu_us, "reply_rate": 149.93},
        counters={"connections": 2250, "irq_10": 18_000 if arm == "A" else 17_550},
        settle_s=4.2,
        settled=True,
        nodes=nodes,
        host={"busy": 71.5, "steal": 9.0},
    )


def handler(name, calls, none, us, most_us):
    ns = int(calls * us * 1000)
    return HandlerCalls(10, name, calls, none, 0, ns, ns if none else 0, int(most_us * 1000))


FINDING = {
    "subject": "irq 10",
    "severity": "high",
    "message": "enp0s16 shares its line with i801_smbus and sym53c8xx | <five> handlers run",
    "cause": "irq/xtpic-mode",
    "evidence": {"irq": "10", "actions": ["i801_smbus", "sym53c8xx", "enp0s16"]},
    "fixes": [
        {
            "id": "unbind-partners",
            "title": "Unbind the partners",
            "risk": "disruptive",
            "commands": ["echo 0000:00:1f.3 > /sys/bus/pci/drivers/i801_smbus/unbind"],
        }
    ],
}


def crowded():
    pairs = zip(BEFORE, AFTER, strict=True)
    judged = [
        t for i, (a, b) in enumerate(pairs, 1) for t in (trial(i, 1, "A", a), trial(i, 2, "B", b))
    ]
    profiled = [
        trial(
            0, place, arm, cpu_us, kind="profiled",
            nodes=(
                node("director", "director", (0.0, 0.0), (54.14, 20.3), (45.83, 20.33)),
                node("rs1", "real server", (15.4, 5.18), (82.86, 7.25), (1.74, 7.27)),
                node("rs2", "real server", (17.29, 5.6), (81.21, 6.34), (1.47, 6.05)),
            ),
        )
        for place, arm, cpu_us in ((1, "A", 2420.0), (2, "B", 1931.0))
    ]  # fmt: skip
    return Run(
        id="20260102-100000-crowded",
        started="2026-01-02T10:00:00Z",
        finished="2026-01-02T10:12:40Z",
        command="dirtune lab demo",
        version="0.1.0",
        title="A crowded line: five other handlers run for every packet",
        plan_document={"load": {"rate": 150}},
        scenario={
            "name": "crowded",
            "boot": "noapic e1000.InterruptThrottleRate=0",
            "devices": [{"driver": "lsi53c895a", "addr": "0x15.0"}],
            "experiment": {"rate": 150, "pairs": 8},
        },
        inventory={"director": {"kernel": "6.1.0-56-amd64", "cpus": "1"}, "rs1": {"cpus": "1"}},
        primary_metric="cpu_us_per_connection",
        audits={
            "before": {
                "outcomes": [
                    {"check": "irq/shared-with-nic", "status": "finding", "findings": [FINDING]},
                    {"check": "irq/msi-off", "status": "passed", "findings": []},
                ]
            },
            "after": {"outcomes": []},
        },
        handlers={
            "before": HandlerWindow(
                seconds=10.0,
                handlers=(
                    handler("enp0s16", 12_000, 0, 11.9, 310),
                    handler("i801_smbus", 12_000, 12_000, 42.1, 750),
                    handler("sym53c8xx", 48_000, 48_000, 13.4, 190),
                ),
                line_counts={"10": 12_000},
                load_seconds=14.2,
                probe_ns=105_000_000,
                events=144_000,
            ),
            "after": HandlerWindow(
                seconds=10.0,
                handlers=(handler("enp0s16", 11_700, 0, 12.3, 290),),
                line_counts={"10": 11_700},
            ),
        },
        trials=(*profiled, *judged[:3], trial(2, 2, "B", 2900.0, validity="noisy"), *judged[3:]),
        forecast=Forecast(
            irqs=(10,),
            handlers=("i801_smbus", "sym53c8xx"),
            wasted_cpu_percent=11.5,
            wasted_us_per_connection=480.0,
            ratio=0.785,
            interval=(0.772, 0.811),
            basis="60,000 calls returned IRQ_NONE in 10.0 s, taking 19.1 us each "
            "and 1148.4 ms in total",
        ),
        comparisons=(
            Comparison(
                metric="cpu_us_per_connection",
                unit="us",
                better="lower",
                before=BEFORE,
                after=AFTER,
                pairs=8,
                ratio=0.809,
                interval=(0.796, 0.823),
                test="sign-flip",
                p=0.0078,
                noise_floor=0.021,
                minimum_detectable_effect=0.018,
                verdict="improved",
                reason=None,
                invalid=1,
            ),
            Comparison(
                metric="reply_rate",
                unit="replies/s",
                better="higher",
                before=(149.9,) * 8,
                after=(149.9,) * 8,
                pairs=8,
                ratio=1.0,
                interval=(0.999, 1.001),
                test="sign-flip",
                p=1.0,
                noise_floor=None,
                minimum_detectable_effect=0.002,
                verdict="equivalent",
                reason="the interval lies within 2 % of no change",
            ),
        ),
        steps=(
            Step("10:00:31", "dirtune audit --probe=5 --host director", "audit before"),
            Step("10:01:02", "dirtune fix apply irq/shared-with-nic", "unbind the partners"),
        ),
        verdict="Unbinding five idle handlers took 19 % off the CPU time of a connection.",
        notes=("The director is emulated: the mechanism carries over, percentages do not.",),
    )


RUN = crowded()
