"""The exception tree. Every exception that dirtune raises on purpose is a `DirtuneError`.

* DirtuneError
  - SourceMissing   the kernel does not expose this file or command (a skip, not a failure)
  - SourceRefused   the file or command exists, but this user may not read it
  - ParseError      the text of a source is not in a format that dirtune can read
  - NotPossible     this host or user lacks something that the command needs; names the remedy
    - NotInstalled  a command is not installed on a node
    - Exhausted     this process or this machine has reached its limit of open files
  - NodeUnreachable a node could not be reached, or the connection was lost
  - PlanError       a plan or configuration file is wrong; names the key
  - ApplyError      a write was refused or had no effect, or its precondition does not hold
  - TrialError      a trial could not be carried out
    - NoVerdict     a run has no measurement that can be judged
  - LabError        the lab could not be built or is not in the state the command needs
"""

import errno

_REMEDIES = {
    errno.EMFILE: "this process has too many open files. Raise its limit: ulimit -n 1024",
    errno.ENFILE: "this machine has too many open files. Raise its limit: sysctl -w fs.file-max=N",
}


class DirtuneError(Exception):
    """Base of all errors that the command line reports in one line, with exit status 2."""


class SourceMissing(DirtuneError):
    """A kernel file or command is absent on this host."""


class SourceRefused(DirtuneError):
    """A kernel file exists, but this user may not read it."""


class ParseError(DirtuneError):
    """A source exists, but its text is not in a known format."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(f"{source}: {problem}")


class NotPossible(DirtuneError):
    """This host or this user lacks something that the command needs."""


class NotRecorded(NotPossible):
    """All changes were undone, but the journal cannot record the undo."""


class NotInstalled(NotPossible):
    """A command is not installed on a node."""


class NodeUnreachable(DirtuneError):
    """A node could not be reached over SSH, or the connection was lost."""


class PlanError(DirtuneError):
    """A plan or a configuration file is wrong."""


class ApplyError(DirtuneError):
    """A setting could not be written, had another value when read back, or must not be written."""


class TrialError(DirtuneError):
    """A trial could not be carried out as planned."""


class NoVerdict(TrialError):
    """A run has ended without a valid trial, so continuing the run would change nothing."""


class LabError(DirtuneError):
    """The lab could not be built, or is not in the state that the command needs."""


class Exhausted(NotPossible):
    """This process or this machine has reached its limit of open files."""


def require_files(error: BaseException) -> None:
    """Raise `Exhausted` if *error* means that no more files can be opened.

    A caller that did not check this would report the file or the host as missing.
    """
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        raise Exhausted(_REMEDIES[error.errno]) from error
