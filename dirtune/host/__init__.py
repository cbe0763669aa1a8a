"""The doors to a machine. No other module opens a kernel file or starts a process for one.

`Host` is what the read-only half is given: it can read, list and resolve links, and nothing
else. `LiveHost` serves `/` or a recorded tree; `RecordedHost` serves texts held in memory
(an archive, or what was fetched over SSH). `WritableHost` is for `change` and `lvs`, and for the
probe that counts in tracefs. `run` runs a command here.
"""

from dirtune.host.command import run
from dirtune.host.live import Host, LiveHost
from dirtune.host.paths import followed, literal
from dirtune.host.recorded import RecordedHost
from dirtune.host.texts import WIDEST, readable, recorded_path, recorded_text
from dirtune.host.writable import FileContents, WritableHost

__all__ = [
    "WIDEST",
    "FileContents",
    "Host",
    "LiveHost",
    "RecordedHost",
    "WritableHost",
    "followed",
    "literal",
    "readable",
    "recorded_path",
    "recorded_text",
    "run",
]
