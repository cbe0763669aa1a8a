"""dirtune's numbers beside those of h2load and httperf run by hand, in turn, at one rate."""

import re
import statistics
import time

import pytest
from benches import SEPARATE, in_lab, on, trial

pytestmark = [
    pytest.mark.long,
    pytest.mark.usefixtures("booted"),
    in_lab(SEPARATE),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROUNDS = 5


def by_hand(client, generator):
    """Run the generator as anybody would, 50/s for 8 s; return replies/s and the median in ms."""
    if generator == "httperf":
        argv = "--server 198.18.0.100 --port 80 --uri / --rate 50 --num-conns 400 --timeout 1"
        text = on(client, f"httperf {argv}")
        rate = re.search(r"Total: connections \d+ requests \d+ replies (\d+) .* ([\d.]+) s", text)
        median = re.search(r"Connection time \[ms\]: .* median ([\d.]+)", text)
        return int(rate[1]) / float(rate[2]), float(median[1])
    text = on(
        client,
        "h2load --h1 -n 400 -c 400 -r 1 --rate-period=20ms -T 1s -N 1s -H 'Connection: close' "
        "--log-file=/tmp/log http://198.18.0.100:80/ >/dev/null; cat /tmp/log; rm /tmp/log",
    )
    rows = [[int(cell) for cell in row.split()] for row in text.splitlines()]
    starts = [row[0] for row in rows]
    span_s = (max(starts) - min(starts)) / 1e6
    return (len(rows) - 1) / span_s, statistics.median(row[2] for row in rows) / 1000


@pytest.mark.parametrize("generator", ["h2load", "httperf"])
def test_beside_the_plain_tool(tmp_path, generator):
    ours, theirs = [], []
    for _ in range(ROUNDS):
        found, _ = trial(tmp_path, tries=3, clients=1, generator=generator, rates=[50], window=6)
        ours.append((found.reply_rate, found.latency.p50_ms))
        theirs.append(by_hand("c1", generator))
        time.sleep(1)

    print(generator, "ours", ours, "by hand", theirs)
    for place, least in ((0, 0.5), (1, 1.0)):
        a, b = ([pair[place] for pair in runs] for runs in (ours, theirs))
        # Two medians of few runs differ by chance; httperf tells time in steps of 1 ms.
        spread = max(max(a) - min(a), max(b) - min(b), least)
        assert abs(statistics.median(a) - statistics.median(b)) <= spread
