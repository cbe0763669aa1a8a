"""Read the day files of sysstat with sysstat's own sadf(1)."""

import os
import shutil
import tempfile
from pathlib import Path

from dirtune import history, reading
from dirtune.errors import NotInstalled, NotPossible
from dirtune.history import History
from dirtune.host import command, run_bounded

_LARGEST_FILE = 256 << 20
_LARGEST_TEXT = 512 << 20
_MOST_S = 20
# sysstat before 11.5.2 has no SOFT.
_NETWORK = ("DEV,EDEV,SOFT", "DEV,EDEV")


def of_day_file(path: Path) -> History | None:
    """Return the worst interval of the day file *path*; None if it is another kind of file.

    Raises `NotInstalled` if sadf is missing, `NotPossible` if it cannot read the file, and
    `ParseError` if the file has no interval.
    """
    if not _is_day_file(path):
        return None
    program = shutil.which("sadf")
    if program is None:
        raise NotInstalled(
            f"{path} is a day file of sysstat, which sadf must read, and sadf is not installed. "
            "Install the package sysstat"
        )
    return history.of_day(str(path), _printed(program, path))


def _is_day_file(path: Path) -> bool:
    try:
        with open(reading.open_regular(path, _LARGEST_FILE), "rb") as file:  # noqa: PTH123
            return file.read(2) in history.MAGIC
    except OSError:
        return False  # whoever reads it as an archive says why


def _printed(program: str, path: Path) -> str:
    """Return what sadf prints of a copy of the file, which it reads without root's rights."""
    with tempfile.TemporaryDirectory(prefix="dirtune-") as made:
        copy = Path(made) / "day"
        _copy(path, copy)
        if os.geteuid() == 0:
            Path(made).chmod(0o711)
        return _converted(program, copy, path)


def _copy(path: Path, copy: Path) -> None:
    """Copy *path* to *copy*, which only the user who runs sadf can read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with (
        open(reading.open_regular(path, _LARGEST_FILE), "rb") as day,  # noqa: PTH123
        open(os.open(copy, flags, 0o600), "wb") as file,  # noqa: PTH123
    ):
        left = _LARGEST_FILE
        while part := day.read(1 << 20):  # the file may grow
            left -= len(part)
            if left < 0:
                raise NotPossible(f"{path}: the file is larger than {_LARGEST_FILE >> 20} MiB")
            file.write(part)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), command.NOBODY, command.NOBODY)
            os.fchmod(file.fileno(), 0o400)


def _converted(program: str, copy: Path, path: Path) -> str:
    reason = ""
    for network in _NETWORK:
        # Times of the host that wrote the file, and decimal points.
        options = ("-u", "ALL", "-P", "ALL", "-n", network)
        argv = ("env", "LC_ALL=C", program, "-j", "-t", str(copy), "--", *options)
        try:
            return run_bounded(argv, timeout_s=_MOST_S, most_bytes=_LARGEST_TEXT, confined=True)
        except NotPossible as error:
            complaint = str(error).removeprefix(f"{' '.join(argv)}: ")
            reason = reason or complaint.replace(str(copy), str(path))
    raise NotPossible(
        f"{path}: sadf cannot read this file of sysstat ({reason}). Convert the file of an older "
        "version with `sadf -c`, or read it on a host with the sysstat that wrote it"
    )
