"""The exception tree. Everything dirtune raises on purpose is below `DirtuneError`.

* DirtuneError
  - SourceMissing   the kernel does not expose this file or command (a skip, not a failure)
  - SourceRefused   it is there and we may not read it
  - ParseError      the text is there and is not what we know how to read
  - NotPossible     this host or this user lacks what the command needs; says the remedy
    - NotInstalled  a command is not installed on a node
    - Exhausted     this process or this machine may not open more files
  - NodeUnreachable a node could not be reached, or was lost
  - PlanError       a plan or configuration file is wrong; says the key
  - ApplyError      a write was refused, did not take, or its precondition does not hold
  - TrialError      a trial could not be carried out
    - NoVerdict     nothing that was measured can be judged
  - LabError        the lab could not be built or is not in the state the command needs
"""

import errno

_REMEDIES = {
    errno.EMFILE: "this process may not open more files. Raise its limit: ulimit -n 1024",
    errno.ENFILE: "this machine may not open more files. Raise its limit: sysctl fs.file-max",
}


class DirtuneError(Exception):
    """Base of every error the CLI turns into one line and exit status 2."""


class SourceMissing(DirtuneError):
    """A kernel file or command is absent on this host."""


class SourceRefused(DirtuneError):
    """A kernel file exists and could not be read."""


class ParseError(DirtuneError):
    """A source exists but its text is not in a known format."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(f"{source}: {problem}")


class NotPossible(DirtuneError):
    """This host or this user lacks something the command needs."""


class NotInstalled(NotPossible):
    """A command is not installed on a node."""


class NodeUnreachable(DirtuneError):
    """A node could not be reached over SSH, or the connection was lost."""


class PlanError(DirtuneError):
    """A plan or a configuration file does not say what it must."""


class ApplyError(DirtuneError):
    """A setting could not be written, read back different, or must not be written."""


class TrialError(DirtuneError):
    """A trial could not be carried out as planned."""


class NoVerdict(TrialError):
    """A run is over and holds no valid trial, so going on with it would change nothing."""


class LabError(DirtuneError):
    """The lab could not be built, or is not in the state the command needs."""


class Exhausted(NotPossible):
    """This process or machine may not open more files."""


def require_files(error: BaseException) -> None:
    """Raise `Exhausted` if *error* says that no more files may be opened.

    It says nothing about the file or host that was asked: "not there" would be a false answer.
    """
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        raise Exhausted(_REMEDIES[error.errno]) from error
