"""Give this host's kernel each table of a file in turn, and see that it has it.

Run on a director by tests/lab/test_lvs.py: `python3 converge.py FILE`, a JSON list of tables.
"""

import subprocess
import sys
from pathlib import Path

import msgspec
from msgspec.structs import replace

from dirtune.errors import ApplyError
from dirtune.host import LiveHost
from dirtune.lvs import ipvsadm, kernel
from dirtune.lvs.diff import diff
from dirtune.lvs.model import Table


def without_thresholds(table):
    """What `ipvsadm -Sn` can say of a table."""
    services = (
        replace(s, destinations=tuple(replace(d, upper=0, lower=0) for d in s.destinations))
        for s in table.services
    )
    return Table(tuple(services))


def main(path):
    """Print how many tables converged."""
    tables = msgspec.json.decode(Path(path).read_bytes(), type=list[Table])
    with kernel.opened(LiveHost()) as ipvs:
        for desired in tables:
            actual = ipvs.read()
            try:
                ipvs.carry_out(diff(actual, desired))
            except ApplyError:
                print(*diff(actual, desired), sep="\n", file=sys.stderr)
                raise
            assert diff(ipvs.read(), desired) == (), "a second go has something to do"
            said = subprocess.run(["ipvsadm", "-Sn"], capture_output=True, text=True, check=True)
            assert diff(ipvsadm.parse(said.stdout), without_thresholds(desired)) == ()
    print(len(tables), "converged, the largest of", max(len(t.services) for t in tables))


if __name__ == "__main__":
    main(*sys.argv[1:])
