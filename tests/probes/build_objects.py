"""Build the prebuilt probes: dirtune/probes/NAME.bpf.o from NAME.bpf.c and common.bpf.h.

Run by `make objects`. The compiler's version is pinned, and no path of this machine gets into an
object, so the same sources always give the same bytes. An object records in its section `.dirtune`
what it was built from.
"""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from dirtune.probes import session

CLANG, STRIP = "clang-14", "llvm-strip-14"
COMMON = "common.bpf.h"
# v2 (Linux 4.14) and not v3, whose 32-bit jumps kernels before 5.1 do not know.
FLAGS = "-O2 -g -Wall -Werror -Wno-unused-function -Wno-unused-variable -target bpf -mcpu=v2"
ISOLATED = "-nostdinc -fno-ident -fdebug-compilation-dir=. -include common.bpf.h"


def flags(probe):
    """Return the flags of the compiler for a probe."""
    sizes = (f"-D{macro}={size}" for macro, size in sorted(probe.sizes.items()))
    return [*FLAGS.split(), *ISOLATED.split(), *sizes]


def built_from(probe, folder=session.HERE):
    """Return the SHA-256 of the sources and flags that an object of *probe* is built from."""
    texts = (folder / name for name in (COMMON, f"{probe.name}.bpf.c"))
    parts = [*(path.read_bytes() for path in texts), " ".join(flags(probe)).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def build(probe, target, folder=session.HERE):
    """Build the object of *probe* from the sources in *folder*, and write it to *target*."""
    source, made = f"{probe.name}.bpf.c", f"{probe.name}.bpf.o"
    with tempfile.TemporaryDirectory() as scratch:
        for name in (COMMON, source):
            shutil.copy(folder / name, scratch)
        word = f'-DBUILT_FROM="{built_from(probe, folder)}"'
        subprocess.run(
            [CLANG, *flags(probe), word, "-c", source, "-o", made], cwd=scratch, check=True
        )
        subprocess.run([STRIP, "--strip-debug", made], cwd=scratch, check=True)
        shutil.copy(Path(scratch, made), target)
    target.chmod(0o644)


if __name__ == "__main__":
    for each in session.all_probes():
        build(each, session.HERE / f"{each.name}.bpf.o")
