"""Names that a kernel accepts, and that a shell, udev or systemd may take for something else."""

import shlex
import shutil

SHELLS = tuple(
    shell for shell in (("dash",), ("bash",), ("busybox", "sh")) if shutil.which(shell[0])
)
"""The shells that /bin/sh is on the distributions of directors, as far as they are here."""
CANARY = "OWNED"
"""The file that every name makes which is run as code, wherever it is run."""
# dev_valid_name() accepts up to 15 bytes without slash, colon and white space, not `.` and `..`.
NICS = (
    b"|;id>OWNED;#",
    b"$(id>OWNED)",
    b"`id>OWNED`",
    b"';id>OWNED;'",
    b'";id>OWNED;"',
    b"a&id>OWNED&",
    b"a|eid>OWNED;#",
    b'a",RUN+="id',
    b"$IFS",
    b"${IFS}",
    b"*",
    b"[a-z]*",
    b"a?",
    b"{a,b}",
    b"~",
    b"-K",
    b"--json",
    b"-",
    b".hidden",
    b"..x",
    b"\\",
    b"a\\nb",
    b"a\\",
    b"\\c",
    b"'",
    b'"',
    b"a'b",
    b"#x",
    b"!x",
    b"a=b",
    b"a@b",
    b"a,b",
    b"<<EOF",
    b"DIRTUNE",
    b"(x)",
    b"\x01\x1b[31m",
    b"a\x1cb",
    b"\xc2\x85a",
    b"\xe2\x80\xa8a",
    b"\xff\xfe",
    b"\xc3\xa9th",
    b"12345\xc3\xa9789abcde",
    b"eth0.100",
    b"a.b.c",
)
# Those that the kernel refuses to make, for it takes % for the place of a number; what renames an
# interface from elsewhere, or a record of another kernel, may hold them.
PERCENT = (b"%d", b"%%", b"%n%k", b"a%", b"$$", b"%H")
# What else is named on a host: handlers, processes, modules, files, drivers.
TEXTS = (
    "a b",
    "a\nb",
    "a\n; id>OWNED #",
    "x\nDIRTUNE\nid>OWNED\ncat <<'DIRTUNE'",
    "\ttab",
    "a:b",
    "../../x",
    "",
)


def text(name: bytes) -> str:
    """Return *name* as dirtune holds it: what is no text, or parts words in Python, as escapes."""
    text = name.decode("utf-8", "backslashreplace")
    return text.replace("\x1c", "\\x1c").replace("\x85", "\\x85").replace("\u2028", "\\u2028")


NAMES = tuple(map(text, (*NICS, *PERCENT)))


def stub(folder, name):
    """Put a command *name* into *folder* that writes down its arguments, and return its log."""
    log = folder / f"{name}.log"
    program = folder / name
    program.write_text(f'#!/bin/sh\nprintf \'%s\\0\' "$#" "$@" >>{shlex.quote(str(log))}\n')
    program.chmod(0o755)
    return log


def calls(log):
    """Return the arguments of every call that a stub wrote down."""
    words = log.read_bytes().split(b"\0")[:-1] if log.exists() else []
    found = []
    while words:
        count = int(words.pop(0))
        found.append(tuple(words[:count]))
        del words[:count]
    return found
