"""A simulated director with a known capacity, noise and drift, behind the rig's interface."""

import dataclasses

import msgspec
import simulated
from simulated import Director, planned

PLAN = planned(rates=[100, 200, 400], warmup=0.5, window=2, repeats=1)


class Saturating(Director):
    """Answers *capacity* connections/s and loses the rest; its clients begin *clients* at most.

    The capacity of a trial is drawn anew with standard deviation *noise* (a share), and goes
    down by *drift* (a share) over 100 trials.
    """

    def __init__(self, capacity, *, plan=PLAN, noise=0.0, drift=0.0, clients=None, seed=1):
        super().__init__(plan, seed=seed, cost_us=1000.0)
        self.capacity, self.spread, self.drift = capacity, noise, drift
        self.clients = clients
        self.trials = 0

    async def load(self, ticks):
        self.trials += 1
        now = self.capacity * (1 - self.drift * self.trials / 100)
        return Load(self, ticks, now * (1 + self.chance.gauss(0, self.spread)))


class Load(simulated.Load):
    """Connections beyond what the clients can begin are unsent, beyond the capacity lost."""

    def __init__(self, director, ticks, serves):
        super().__init__(director, ticks)
        offered = director.rate
        self.begun = min(1.0, (director.clients or offered) / offered)
        self.kept = min(1.0, serves / (offered * self.begun))
        self.before = director.connections
        director.rate *= self.begun

    async def finish(self):
        results, raw = await super().finish()
        # The director counts what the clients began, to the last one.
        begun = sum(report.attempted for result in results for report in result.reports)
        self.director.connections = self.before + begun
        return results, raw

    def result(self, n, host):
        whole = super().result(n, host)
        if not whole.reports:
            return whole
        (report,) = whole.reports
        begun = int(report.attempted * self.begun)
        good = round(begun * self.kept)
        # The replies that did come are spread over the whole time.
        step = len(report.replies) / max(good, 1)
        report = msgspec.structs.replace(
            report,
            attempted=begun,
            replied=good,
            failed={"timeout": begun - good} if begun > good else {},
            replies=tuple(report.replies[int(k * step)] for k in range(good)),
        )
        return dataclasses.replace(whole, reports=(report,))
