"""Access to a machine. No other module opens a kernel file or runs a command to read one.

`Host` is the interface for code that only reads: it reads files, lists paths and resolves links.
`LiveHost` reads from `/` or from a recorded tree. `RecordedHost` reads from texts in memory, which
come from an archive or over SSH. `LinkedHost` reads from a tree in memory, and `AddedHost` adds
texts to another host. `WritableHost` also changes the host; only `change`, `lvs` and
the tracefs probe use it. `run` runs a command on this machine, `run_bounded` one whose output may
be huge, and `notify` a command of the user.
"""

from dirtune.host.command import notify, run, run_bounded
from dirtune.host.linked import AddedHost, LinkedHost
from dirtune.host.live import Host, LiveHost
from dirtune.host.paths import followed, literal
from dirtune.host.recorded import RecordedHost
from dirtune.host.texts import WIDEST, readable, recorded_path, recorded_text
from dirtune.host.writable import FileContents, WritableHost

__all__ = [
    "WIDEST",
    "AddedHost",
    "FileContents",
    "Host",
    "LinkedHost",
    "LiveHost",
    "RecordedHost",
    "WritableHost",
    "followed",
    "literal",
    "notify",
    "readable",
    "recorded_path",
    "recorded_text",
    "run",
    "run_bounded",
]
