"""Find the changes of a journal that was rolled back, to make them again."""

from dirtune.change import journal, origin
from dirtune.change.origin import Origin
from dirtune.change.record import Planned, State
from dirtune.change.transaction import Place, boot_id
from dirtune.errors import NotPossible
from dirtune.host import Host


def rolled_back(at: Place, host: Host, name: str) -> Planned:
    """Return what the journal *name* planned, if it was rolled back and its names still hold.

    Raises `NotPossible` if its changes may be in effect, and if they were made before the last
    reboot or in another network namespace, where the same names may mean other devices.
    """
    entry = journal.load(journal.find(at.state, name))
    if entry.state is not State.ROLLED_BACK:
        raise NotPossible(
            f"{name} was not rolled back, so its changes may be in effect. Run: dirtune fix verify"
        )
    planned, boot = entry.planned, boot_id(host)
    if planned.boot != boot:
        raise NotPossible(
            f"{name} was made before the last reboot, and its devices may have other names now. "
            "Run dirtune fix apply instead."
        )
    match origin.of(planned, boot):
        case Origin.ELSEWHERE:
            raise NotPossible(origin.elsewhere(planned, boot))
        case Origin.GONE:
            raise NotPossible(origin.gone(entry))
        case Origin.HERE:
            return planned
