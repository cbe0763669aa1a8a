"""Read the reports of other tools as hosts: sos, insights-client, must-gather, plain tarballs.

A report has files copied from /proc and /sys, and outputs of commands. `unpacking` reads its
archive, `outputs` finds the outputs, and `translation` writes them as the sources of a record:
one module for each tool's text. `plugins` names the plugin of sos that has what is missing.
"""

from pathlib import Path

from dirtune.host import Host, LiveHost
from dirtune.sosreport.outputs import is_node, is_report, is_sosreport
from dirtune.sosreport.plugins import reason

__all__ = ["is_sosreport", "of_archive", "of_folder", "reason"]


def of_archive(path: Path) -> Host | None:
    """Return the host in the archive *path*; None if `dirtune snapshot` wrote it.

    Raises `NotPossible` if the file cannot be read, and `ParseError` if it holds no host.
    """
    from dirtune.sosreport import unpacking  # noqa: PLC0415  (few hosts are archives)
    from dirtune.sosreport.translation import translated  # noqa: PLC0415

    name = unpacking.first_name(path)
    if name is None or name == "meta.json" or name.split("/", 1)[0] in {"0", "1"}:
        return None
    return translated(unpacking.load(path))


def of_folder(folder: Path) -> Host:
    """Return the host whose tree is *folder*, which may be an unpacked report."""
    host = LiveHost(folder)
    of_a_node = is_node(folder)
    if not (of_a_node or is_report(host)):
        return host
    from dirtune.sosreport import must_gather  # noqa: PLC0415  (few folders are reports)
    from dirtune.sosreport.translation import translated  # noqa: PLC0415

    return translated(must_gather.host_of(folder) if of_a_node else host)
