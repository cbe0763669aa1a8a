"""Processes from ps(1), as the files stat and comm of /proc/PID.

`ps axo flags,state,uid,...,cls,pri,...,time,cmd` has the scheduling class, `ps axo
pid,ppid,...,comm,...` the names, and `ps alxwww` the parents. A name is the one in brackets for a
kernel thread, else the first word of the command, without its folder. ps(1) prints CPU time in
seconds.
"""

import re
from collections.abc import Iterator, Mapping

from dirtune.host import Host
from dirtune.sosreport.outputs import output

_SCHEDULED = (
    *(
        "ps_axo_flags_state_uid_pid_ppid_pgid_sid_cls_pri_psr_addr_sz_wchan_20_lstart_tty_time_cmd",
    ),
    *("ps_axo_flags_state_uid_pid_ppid_pgid_sid_cls_pri_addr_sz_wchan_20_lstart_tty_time_cmd",),
)
_TIME = re.compile(r"(?:(?P<days>\d{1,5})-)?(?:(?P<hours>\d{1,3}):)?(?P<m>\d{1,5}):(?P<s>\d\d)")
_POLICIES = {"TS": 0, "FF": 1, "RR": 2, "B": 3, "IDL": 5, "DLN": 6}
_USER_HZ = 100
_TASK_COMM_LEN = 15
_REAL_TIME_PRI = 40
"""ps(1) prints `pri` as 39 minus the kernel's priority, which is -1 minus that of sched(7)."""


def translated(host: Host) -> Iterator[tuple[str, str]]:
    """Yield path and text of the files stat and comm of each process."""
    text = output(host, *_SCHEDULED) or output(host, "ps_alxwww") or ""
    title, *rows = text.splitlines() or [""]
    names = title.split()
    if not {"PID", "PPID", "TIME"} <= set(names):
        return
    for row in rows:
        cells = _cells(names, row)
        pid = cells.get("PID", "")
        if pid.isdecimal() and len(pid) < 10 and cells["PPID"].isdecimal():
            name = _name(cells.get("CMD") or cells.get("COMMAND") or "")
            yield f"/proc/{pid}/comm", f"{name}\n"
            yield f"/proc/{pid}/stat", _stat(pid, name, cells)


def _cells(names: list[str], row: str) -> Mapping[str, str]:
    """Return the cells of a row by their titles; the time that STARTED titles has five words."""
    words = row.split(None, len(names) + (3 if "STARTED" in names else -1))
    if "STARTED" in names:
        at = names.index("STARTED")
        words = [*words[:at], " ".join(words[at : at + 5]), *words[at + 5 :]]
    return dict(zip(names, words, strict=False)) if len(words) >= len(names) else {}


def _name(command: str) -> str:
    kernel = re.fullmatch(r"\[(.{1,64})\]", command.strip())
    if kernel:
        return kernel[1]
    return command.split(" ", 1)[0].rsplit("/", 1)[-1].rstrip(":")[:_TASK_COMM_LEN]


def _stat(pid: str, name: str, cells: Mapping[str, str]) -> str:
    """Return the text of /proc/PID/stat; the fields that no check reads are 0."""
    fields = ["0"] * 50
    fields[0], fields[1] = (cells.get("S") or cells.get("STAT") or "S")[0], cells["PPID"]
    match = _TIME.fullmatch(cells["TIME"])
    if match:
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        fields[11] = str((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * _USER_HZ)
    processor = cells.get("PSR", "")
    fields[36] = processor if processor.isdecimal() else "0"
    policy = _POLICIES.get(cells.get("CLS", "TS"), 0)
    priority = cells.get("PRI", "")
    if policy in {1, 2} and priority.isdecimal():
        fields[37] = str(max(0, int(priority) - _REAL_TIME_PRI))
    fields[38] = str(policy)
    return f"{pid} ({name}) {' '.join(fields)}\n"
