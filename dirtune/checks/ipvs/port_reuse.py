"""The treatment of reused source ports by a kernel's IPVS.

Three changes matter, and no file shows two of them:

- Linux 4.1 has `conn_reuse_mode`; kernels without it have no sysctl of that name.
- Linux 5.9 drops the first SYN of a reused port with `net.ipv4.vs.conntrack=1` only if conntrack
  did not replace the old entry (net/netfilter/ipvs/ip_vs_core.c, commit f0a5e4d7a594).
- Linux 5.16 (November 2021) looks at a destination of weight 0 also with `conn_reuse_mode=0`, if
  `expire_nodest_conn` is 1 (commit c95c07836fa4).

Stable kernels have the last two from the patch levels of `_STABLE_NO_DELAY` and `_STABLE_WEIGHT_0`
on, by the stable kernels' changelogs and reviews. Those of 4.4 and 4.9 have neither.
"""

import re
from collections.abc import Mapping

from dirtune.snapshot import Snapshot

VS = "net/ipv4/vs/"
_RELEASE = re.compile(r"(?P<major>\d+)\.(?P<minor>\d+)(?:\.(?P<patch>\d+))?(?P<vendor>[-+~_.].*)?")
# Debian's release has the patch level 0; the real one is in the description of the build.
_DEBIAN = re.compile(r"\bDebian (?P<release>\d+\.\d+\.\d+)-")
_NO_DELAY, _WEIGHT_0 = (5, 9), (5, 16)
# August 2020. 5.4.162 has the change. That it came with 5.4.59 and 5.8.2 follows from the other
# releases of the same week and was not read.
_STABLE_NO_DELAY = {(4, 14): 194, (4, 19): 140, (5, 4): 59, (5, 7): 16, (5, 8): 2}
# December 2021.
_STABLE_WEIGHT_0 = {(4, 14): 257, (4, 19): 219, (5, 4): 163, (5, 10): 83, (5, 15): 6}
# Settings that are newer than all of the changes, also where a vendor took them over.
_NEWER = ("est_cpulist", "conn_lfactor", "conn_max")
_NO_DELAY_SETTING = "conn_reuse_old_conntrack"  # TencentOS


def release(snapshot: Snapshot) -> tuple[int, int, int] | None:
    """Return the kernel's version; None if its release has another form."""
    kernel = snapshot.kernel
    debian = _DEBIAN.search((kernel and kernel.version) or "")
    text = debian["release"] if debian else (kernel and kernel.osrelease) or ""
    parsed = _RELEASE.fullmatch(text)
    return parsed and (int(parsed["major"]), int(parsed["minor"]), int(parsed["patch"] or 0))


def vendor(snapshot: Snapshot) -> bool:
    """Whether the release is a distribution's, which may have changes of newer kernels."""
    parsed = _RELEASE.fullmatch((snapshot.kernel and snapshot.kernel.osrelease) or "")
    return parsed is not None and parsed["vendor"] is not None


def delays(snapshot: Snapshot) -> bool | None:
    """Return whether the kernel drops the first SYN of a reused port; None if unknown."""
    if _has(snapshot, *_NEWER, _NO_DELAY_SETTING):
        return False
    return _older(snapshot, _NO_DELAY, _STABLE_NO_DELAY)


def ignores_weight_0(snapshot: Snapshot) -> bool | None:
    """Return whether `conn_reuse_mode=0` ignores that a destination has weight 0.

    If not, `expire_nodest_conn=1` sends such clients to another destination. None if unknown.
    """
    if _has(snapshot, *_NEWER):
        return False
    return _older(snapshot, _WEIGHT_0, _STABLE_WEIGHT_0)


def _older(
    snapshot: Snapshot, changed: tuple[int, int], stable: Mapping[tuple[int, int], int]
) -> bool | None:
    known = release(snapshot)
    if known is None:
        return None
    version, patch = known[:2], known[2]
    return version < changed and (version not in stable or patch < stable[version])


def _has(snapshot: Snapshot, *names: str) -> bool:
    settings = snapshot.sysctls
    return settings is not None and any(settings.text(f"{VS}{name}") is not None for name in names)
