"""CPUs from /proc/cpuinfo and lscpu(1), as files of /sys/devices/system."""

import re
from collections import defaultdict
from collections.abc import Iterator

from dirtune.collect.files import text_in
from dirtune.cpu_sets import format_cpulist
from dirtune.host import Host
from dirtune.sosreport.outputs import output

_CPU = "/sys/devices/system/cpu"
_LIST = r"([\d,-]{1,4096})\s*$"
_ONLINE = re.compile(rf"^On-line CPU\(s\) list:\s*{_LIST}", re.MULTILINE)
_NODE = re.compile(rf"^NUMA node(\d{{1,4}}) CPU\(s\):\s*{_LIST}", re.MULTILINE)
_HEADER = re.compile(r"CPU(\d{1,5})\b")
_MOST_CPUS = 8192


def translated(host: Host) -> Iterator[tuple[str, str]]:
    """Yield path and text of the lists of CPUs, nodes and cores."""
    text = output(host, "lscpu") or ""
    online = _ONLINE.search(text)
    cpuinfo = _processors(text_in(host, "/proc/cpuinfo") or "")
    if online:
        yield f"{_CPU}/online", online[1]
    elif cpuinfo:
        yield f"{_CPU}/online", format_cpulist(tuple(sorted(cpuinfo)))
    else:
        header = (text_in(host, "/proc/interrupts") or "").partition("\n")[0]
        named = [int(number) for number in _HEADER.findall(header)][:_MOST_CPUS]
        if named:
            yield f"{_CPU}/online", format_cpulist(tuple(sorted(set(named))))
    for node, cpus in _NODE.findall(text):
        yield f"/sys/devices/system/node/node{node}/cpulist", cpus
    yield from _cores(cpuinfo)


def _processors(text: str) -> dict[int, dict[str, str]]:
    """Return the facts of each CPU in the text of /proc/cpuinfo."""
    found: dict[int, dict[str, str]] = {}
    for block in text.split("\n\n"):
        rows = (row.partition(":") for row in block.splitlines())
        facts = {name.strip(): value.strip() for name, _, value in rows}
        number = facts.get("processor", "")
        if number.isdecimal() and len(number) < 6 and len(found) < _MOST_CPUS:
            found[int(number)] = facts
    return found


def _cores(cpuinfo: dict[int, dict[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the threads of each CPU's core and its package, where /proc/cpuinfo has them."""
    threads: dict[tuple[str, str], list[int]] = defaultdict(list)
    for cpu, facts in cpuinfo.items():
        if facts.get("physical id", "").isdecimal() and facts.get("core id", "").isdecimal():
            threads[facts["physical id"], facts["core id"]].append(cpu)
    for (package, _), cpus in threads.items():
        for cpu in cpus:
            yield f"{_CPU}/cpu{cpu}/topology/thread_siblings_list", format_cpulist(tuple(cpus))
            yield f"{_CPU}/cpu{cpu}/topology/physical_package_id", package
