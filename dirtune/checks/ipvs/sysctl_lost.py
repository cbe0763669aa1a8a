from collections.abc import Iterator
from dataclasses import dataclass

from dirtune.checks import Finding, Fix, Risk, Role, Severity, Verdicts, check, inconclusive
from dirtune.checks.ipvs import DEFENCES, running
from dirtune.collect.settings_files import SettingsFiles
from dirtune.collect.sysctls import Sysctls, dotted
from dirtune.competitors import competitors
from dirtune.settings import KernelFile, in_quotes, written
from dirtune.snapshot import Snapshot

_VS, _CONNTRACK = "net/ipv4/vs/", "net/netfilter/nf_conntrack_"
_GRAVE = ("conntrack", "expire_", "conn_reuse_mode", "drop_", "sync_", "schedule_icmp")
# Settings that these programs write when they start and when they notice a change.
_WRITERS = {
    "kube-proxy": ("conntrack", "conn_reuse_mode", "expire_nodest_conn"),
    "kube-router": ("conntrack", "conn_reuse_mode", "expire_nodest_conn"),
}
_ALSO_WRITTEN = "expire_quiescent_template"
# The kernel rounds the number of buckets up to whole pages of 512 buckets.
_BUCKETS, _PER_PAGE = "net/netfilter/nf_conntrack_buckets", 512


@dataclass(frozen=True, slots=True)
class _Lost:
    name: str
    configured: str
    live: str
    file: str


@check(
    "ipvs/sysctl-lost",
    severity=Severity.HIGH,
    trust="A",
    roles=(Role.DIRECTOR,),
    mends=True,
)
def sysctl_lost(snapshot: Snapshot, sysctls: Sysctls, settings_files: SettingsFiles) -> Verdicts:
    """IPVS settings in a configuration file are not in force.

    ## What it does
    The check compares the settings below `net.ipv4.vs` and `net.netfilter` in the files of
    sysctl.d(5) with the live values. A difference in `conntrack`, `expire_*`, `conn_reuse_mode`,
    `drop_*`, `sync_*` or `schedule_icmp` is `high`, any other difference is `medium`. Not reported
    are settings that kube-proxy or kube-router writes while it runs, a defence that changed from 1
    (armed) to 2 (triggered), and a value of `nf_conntrack_buckets` that the kernel rounded up to
    whole pages.

    ## Why it matters
    The settings exist only while the module is loaded. At boot, systemd-sysctl often runs before
    the module is loaded, and silently skips settings that do not exist yet. When the module is
    reloaded, the defaults apply again.

    ## Remediation
    Load the module at boot, before sysctl files are read: `echo ip_vs >
    /etc/modules-load.d/ipvs.conf`. Apply the settings now.

    ## Known problems
    The check ignores a setting that this kernel lacks, and a setting whose live value was not
    recorded.

    ## References
    - sysctl.d(5), modules-load.d(5)
    - Documentation/networking/ipvs-sysctl.rst
    """
    lost = tuple(_lost(sysctls, settings_files))
    writers = running(snapshot, _WRITERS)
    managed = {f"{_VS}{n}" for w in writers or () for n in (*_WRITERS[w], _ALSO_WRITTEN)}
    written = {f"{_VS}{n}" for names in _WRITERS.values() for n in (*names, _ALSO_WRITTEN)}
    for setting in lost:
        if setting.name in managed:
            continue
        if writers is None and setting.name in written:
            yield inconclusive(
                "the running processes are unknown, so a program may have set "
                f"{dotted(setting.name)}"
            )
            continue
        yield _finding(snapshot, setting)


def _lost(sysctls: Sysctls, settings_files: SettingsFiles) -> Iterator[_Lost]:
    for name, (configured, file) in settings_files.sysctls.items():
        live = sysctls.text(name)
        ours = name.startswith((_VS, _CONNTRACK))
        if ours and live is not None and not _same(name, configured.split(), live.split()):
            yield _Lost(name, configured, " ".join(live.split()), file)


def _same(name: str, configured: list[str], live: list[str]) -> bool:
    if name.removeprefix(_VS) in DEFENCES and (configured, live) == (["1"], ["2"]):
        return True
    if name == _BUCKETS and all("".join(words).isdecimal() for words in (configured, live)):
        return 0 <= int("".join(live)) - int("".join(configured)) < _PER_PAGE
    return configured == live


def _finding(snapshot: Snapshot, lost: _Lost) -> Finding:
    grave = lost.name.startswith(_VS) and lost.name.removeprefix(_VS).startswith(_GRAVE)
    return Finding(
        subject=dotted(lost.name),
        severity=Severity.HIGH if grave else Severity.MEDIUM,
        message=f"{dotted(lost.name)} is {lost.live}, but {lost.file} sets it to "
        f"{lost.configured}",
        evidence={
            "sysctl": dotted(lost.name),
            "configured": lost.configured,
            "live": lost.live,
            "file": lost.file,
            "module_loaded_at_boot": _module(lost) in _at_boot(snapshot),
        },
        fixes=_fixes(snapshot, lost),
    )


def _module(lost: _Lost) -> str:
    return "ip_vs" if lost.name.startswith(_VS) else "nf_conntrack"


def _at_boot(snapshot: Snapshot) -> frozenset[str]:
    return snapshot.settings_files.modules if snapshot.settings_files else frozenset()


def _fixes(snapshot: Snapshot, lost: _Lost) -> tuple[Fix, ...]:
    module = _module(lost)
    name = "ipvs" if module == "ip_vs" else module
    load = written(f"/etc/modules-load.d/{name}.conf", module)
    boot = () if module in _at_boot(snapshot) else (load,)
    setting = KernelFile(f"/proc/sys/{lost.name}", lost.configured)
    apply = f"sysctl -w {in_quotes(f'{dotted(lost.name)}={lost.configured}')}"
    title = (
        "Set the sysctl to its value in the configuration file"
        f"{f', and load {module} at boot before sysctl files are read' * bool(boot)}"
    )
    who = competitors(snapshot, "sysctl")
    return (Fix("apply-configured", title, Risk.SAFE, (apply, *boot), who, (setting,)),)
