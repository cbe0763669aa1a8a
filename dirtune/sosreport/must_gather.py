"""The folder of one node in a must-gather of OpenShift's performance addon: `nodes/NAME`.

It has `sysinfo.tgz`, with files of /proc and /sys, and outputs such as `dmesg` and `lscpu`.
`ethtool_channels` and `ethtool_features` hold the outputs for all NICs of the node one after the
other.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from dirtune.errors import SourceMissing, SourceRefused
from dirtune.host import AddedHost, Host, LiveHost, RecordedHost
from dirtune.sosreport import unpacking
from dirtune.sosreport.outputs import SYSINFO

_OUTPUTS = ("dmesg", "lscpu")
_NICS = {"ethtool_channels": ("-l", "Channel parameters"), "ethtool_features": ("-k", "Features")}


def host_of(folder: Path) -> Host:
    """Return the node's files of /proc and /sys, with its outputs as those of a report.

    Raises `ParseError` if `sysinfo.tgz` is not an archive of such files.
    """
    return AddedHost(
        unpacking.load(folder / SYSINFO), RecordedHost(dict(_outputs(LiveHost(folder))), {})
    )


def _outputs(node: Host) -> Iterator[tuple[str, str]]:
    for name in (*_OUTPUTS, *_NICS):
        try:
            text = node.read(f"/{name}")
        except (SourceMissing, SourceRefused):
            continue
        if name in _OUTPUTS:
            yield f"/must_gather/{name}", text
            continue
        option, title = _NICS[name]
        parts = re.split(rf"^{title} for ([^\s/]{{1,15}}):$", text, flags=re.MULTILINE)
        for interface, output in zip(parts[1::2], parts[2::2], strict=True):
            yield f"/must_gather/ethtool_{option}_{interface}", f"{title} for {interface}:{output}"
