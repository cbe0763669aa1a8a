"""A recorded host whose table belongs to a program, and what its findings must then say."""

import dataclasses
import re

from dirtune.checks.owners import TRACKING, Owner, owner
from dirtune.collect.net import Interface
from dirtune.snapshot import Snapshot
from tests.checks import machines

# The processes of an owner, and the words that only its users know.
PROGRAMS = {
    Owner.KUBE_PROXY: "kube-proxy",
    Owner.KUBE_ROUTER: "kube-router",
    Owner.SWARM: "dockerd",
    Owner.KEEPALIVED: "keepalived",
    Owner.LDIRECTORD: "ldirectord",
    Owner.PYBAL: "pybal",
    Owner.SEESAW: "seesaw_ncc",
}
WORDS = {
    Owner.KUBE_PROXY: r"kube-proxy|Kubernetes|kubectl|strictARP",
    Owner.KUBE_ROUTER: r"kube-router|Kubernetes|kubectl",
    Owner.SWARM: r"Swarm|docker",
    Owner.KEEPALIVED: r"keepalived|lb_algo|virtual_server|real_server",
    Owner.LDIRECTORD: r"ldirectord",
    Owner.PYBAL: r"PyBal|pybal",
    Owner.SEESAW: r"[Ss]eesaw",
}
_TABLE = re.compile(r"ipvsadm -[AEDaedR]\b|ipvsadm --(add|edit|delete)")
_UNTRACKED = re.compile(r"vs\.conntrack=0|notrack")
_SERVICE = re.compile(r"\b(?:TCP|UDP|SCTP|FWM) \S+$")


def owned_by(snapshot: Snapshot, program: Owner) -> Snapshot:
    """The same host on which *program* runs; it owns the table unless another program does."""
    held = snapshot.interfaces
    if program is Owner.KUBE_PROXY and held:
        held = (*held, Interface("kube-ipvs0", None, None, False, 0, 0))
    alive = (*(snapshot.processes or ()), machines.program(PROGRAMS[program], pid=4242))
    return dataclasses.replace(snapshot, processes=alive, interfaces=held)


def require_owners_words(finding, snapshot):
    """Require that *finding* speaks as the users of the table's owner, and of no other program."""
    runs = owner(snapshot)
    alive = {p.name for p in snapshot.processes or ()}
    known = {o for o, program in PROGRAMS.items() if program in alive} | {runs}
    foreign = [words for o, words in WORDS.items() if o not in known]
    if known & {Owner.KUBE_PROXY, Owner.KUBE_ROUTER}:
        foreign = [words for words in foreign if "Kubernetes" not in words]
    for text in (finding.message, *(fix.title for fix in finding.fixes)):
        wrong = [words for words in foreign if re.search(words, text)]
        assert not wrong, f"{text!r} speaks of a program that does not run here"
    if runs is None:
        return
    rows = [row for fix in finding.fixes for row in fix.commands if _TABLE.search(row)]
    assert not rows, f"{runs} writes the table, so {rows} do not last"
    for fix in finding.fixes if runs in TRACKING else ():
        stops = _UNTRACKED.search(" ".join(fix.commands)) and f"{runs} need" not in fix.title
        assert not stops, f"{runs} needs connection tracking, which {fix.id} ends"
    name = _SERVICE.search(finding.subject)
    if name and name[0] in finding.message:
        assert re.search(WORDS[runs], finding.message), f"{finding.message!r}: not of {runs}"
