"""vmstat(8) and mpstat(1) read as text: second tools for dirtune's own CPU accounting.

dirtune reads /proc/stat itself; nothing but tests needs these.
"""

import json
import re


def vmstat(text):
    """Return a mapping per sample, the first (since boot) included; times in per cent."""
    found, names = [], []
    for row in text.splitlines():
        cells = row.split()
        if cells[:2] == ["r", "b"]:
            # A time stamp's column has the zone's name and two cells.
            names = [name for name in cells if name.islower()]
        elif names and len(cells) >= len(names) and cells[0].isdigit():
            found.append(dict(zip(names, map(int, cells), strict=False)))
    return found


def mpstat(text):
    """Return {interval: {cpu: {state: per cent}}}; `Average` is an interval of its own."""
    if text.lstrip().startswith("{"):
        return _mpstat_json(text)
    found, names = {}, []
    for row in text.splitlines():
        cells = row.replace(",", ".").split()
        if "CPU" in cells:
            # Other tables (interrupts) have no idle time.
            names = cells[cells.index("CPU") :] if "%idle" in cells else []
        elif names and len(cells) >= len(names):
            at, (cpu, *numbers) = cells[: -len(names)], cells[-len(names) :]
            states = {n.strip("%"): float(v) for n, v in zip(names[1:], numbers, strict=True)}
            found.setdefault(" ".join(at).strip(":"), {})[cpu] = states
    return found


def _mpstat_json(text):
    """Row by row: an interrupted mpstat does not close its brackets."""
    found = {}
    for row in text.splitlines():
        if at := re.search(r'"timestamp": "(.+?)"', row):
            states = found[at[1]] = {}
        elif row.strip().startswith('{"cpu"'):
            cells = json.loads(row.strip().rstrip(","))
            cpu = re.sub("^-1$", "all", cells.pop("cpu"))
            states[cpu] = cells
    return found
