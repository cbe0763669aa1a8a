from dirtune.checks import Finding, Role, Severity, Verdicts, check
from dirtune.checks.keepalived import WITHOUT, configured
from dirtune.keepalived.model import Conf, VirtualServer
from dirtune.snapshot import Snapshot


@check(
    "keepalived/quorum-unreachable", severity=Severity.MEDIUM, trust="A", roles=(Role.DIRECTOR,)
)
def quorum_unreachable(_: Snapshot, keepalived: Conf) -> Verdicts:
    """The weights of all real servers together are less than the quorum.

    ## What it does
    The check adds up the weights of the real servers of each virtual_server in
    keepalived.conf(5), and reports a sum below `quorum`, which is 1 by default. So it also reports
    a virtual server whose real servers all have weight 0. It does not report a virtual server with
    a MISC_CHECK that sets the weight (`misc_dynamic`) or a FILE_CHECK.

    ## Why it matters
    keepalived lowers the quorum to the sum. With a sum of 0, the quorum is never lost, so the
    sorry_server never answers and `quorum_down` never runs, while no real server gets a
    connection.

    ## Remediation
    Give the real servers the weights that they had before maintenance, or lower `quorum`.

    ## References
    - keepalived.conf(5), `quorum`, `weight`
    - keepalived/check/check_data.c of keepalived 2.2.7, `validate_check_config()`
    """
    if not configured(keepalived):
        yield WITHOUT
        return
    for server in keepalived.virtual_servers:
        weight = _weight(server)
        if server.real_servers and weight < server.quorum and not _dynamic(server):
            yield Finding(
                f"virtual_server {server.name}",
                Severity.MEDIUM,
                f"The real servers of virtual_server {server.name} have a total weight of "
                f"{weight}, but its quorum is {server.quorum}",
                {"weight": weight, "quorum": server.quorum, "place": str(server.place)},
            )


def _weight(server: VirtualServer) -> int:
    return sum(
        server.weight if real.weight is None else real.weight for real in server.real_servers
    )


def _dynamic(server: VirtualServer) -> bool:
    checkers = (checker for real in server.real_servers for checker in real.checkers)
    return any(checker.dynamic or checker.kind == "FILE_CHECK" for checker in checkers)
