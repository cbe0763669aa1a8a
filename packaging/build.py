"""Build what dirtune is installed from: `make dist` runs this with the Python of .venv.

dist/ gets the wheel, the one file dirtune-linux-ARCH, a .deb, an .rpm, an SBOM (CycloneDX) and
SHA256SUMS. Two builds with one SOURCE_DATE_EPOCH on one machine are identical, byte for byte.

The one file and the packages contain the same tree: the Python of this machine with its standard
library, the base requirements as `make setup` installed them from the lock, libbpf, and the C
library with its dynamic linker. So nothing of the target's user space is needed. The one file is
packaging/launcher.c with this tree appended.
"""

import compileall
import gzip
import hashlib
import io
import json
import os
import platform
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
import zlib
from importlib import metadata
from pathlib import Path

import manpages

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ARCH = platform.machine()
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
EPOCH = int(
    os.environ.get("SOURCE_DATE_EPOCH")
    or subprocess.run(
        ("git", "log", "-1", "--format=%ct"), cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
)
# A place for the path of the dynamic linker, which the launcher writes; its limit is LONGEST.
INTERPRETER = "/" + "interpreter/" * 20 + "ld.so"
INSTALLED = "/usr/lib/dirtune"
FOOTER = 160  # as in launcher.c
MAGIC = "dirtune-1"
# Parts of the standard library that dirtune does not use.
UNUSED = {
    *("config-*", "test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "pydoc_data"),
    *("ensurepip", "distutils", "venv", "sqlite3", "dist-packages", "__pycache__", "_test*.so"),
    *(
        "_sqlite3*.so",
        "xx*.so",
        "_xx*.so",
        "ossaudiodev*.so",
        "nis*.so",
        "_dbm*.so",
        "audioop*.so",
    ),
    *("_curses*.so", "readline*.so", "_ctypes_test*.so", "turtle.py", "*.orig", "LICENSE.txt"),
    *("_codecs_??.*.so", "_codecs_iso2022*.so", "_multibytecodec*.so", "EXTERNALLY-MANAGED"),
    *("sitecustomize.py", "curses", "dbm", "wsgiref", "xmlrpc", "_sysconfigdata_*", "_ssl*.so"),
    "_hashlib*.so",  # brings libcrypto, 5 MB; hashlib has SHA-2 without it
}
# rich needs them only for source text and Markdown, which dirtune does not show.
UNUSED_PACKAGES = {"pygments", "markdown-it-py", "mdurl"}
LIBBPF = "libbpf.so.1"


def run(*argv: str | Path, **options: object) -> str:
    """Run a command and return its output."""
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, **options)
    return done.stdout


def requirements() -> dict[str, metadata.Distribution]:
    """Return the base requirements of dirtune and theirs, as they are installed here."""
    found: dict[str, metadata.Distribution] = {}
    names = ["dirtune"]
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name in found or name in UNUSED_PACKAGES:
            continue
        found[name] = metadata.distribution(name)
        names += [
            re.match(r"[\w.-]+", row)[0]
            for row in found[name].requires or ()
            if not re.search(r"extra ?==|platform_system ?== ?.Windows", row)
        ]
    del found["dirtune"]
    return dict(sorted(found.items()))


def wheel(out: Path) -> Path:
    """Build the wheel of this checkout into *out*."""
    run(sys.executable, "-m", "build", "-q", "--wheel", "--no-isolation", "-o", out, ROOT)
    (built,) = out.glob("dirtune-*.whl")
    return built


def make_tree(tree: Path, built: Path) -> dict[str, Path]:
    """Fill *tree*, and return each shared library in it with the file that it is a copy of."""
    library = tree / "lib" / PYTHON
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=shutil.ignore_patterns(*UNUSED))
    for distribution in requirements().values():
        for row in distribution.files or ():
            if ".." in row.parts or row.suffix == ".pyc" or row.name in {"RECORD", "INSTALLER"}:
                continue
            if row.name in {"REQUESTED", "direct_url.json"} or "tests" in row.parts:
                continue
            to = library / row
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(row.locate(), to)
    with zipfile.ZipFile(built) as archive:
        archive.extractall(library)  # noqa: S202  (built above)
    (library / "dirtune/standalone").touch()  # dirtune/extras.py says what it means
    python = tree / "bin/python3"
    python.parent.mkdir()
    shutil.copyfile(os.path.realpath(sys.executable), python)
    return copy_libraries(tree, python)


def copy_libraries(tree: Path, python: Path) -> dict[str, Path]:
    """Copy every shared library that the tree's programs need, and the dynamic linker."""
    ctypes = f"import ctypes; ctypes.CDLL({LIBBPF!r}); print(open('/proc/self/maps').read())"
    bpf = next(
        row.split()[-1]
        for row in run(sys.executable, "-c", ctypes).splitlines()
        if "/libbpf.so" in row
    )
    copies = {LIBBPF: Path(bpf)}
    for program in (python, Path(bpf), *sorted(tree.rglob("*.so"))):
        for row in run("ldd", program).splitlines():
            if needed := re.match(r"\s*(\S+) => (/\S+)", row):
                copies[needed[1]] = Path(needed[2])
            elif linker := re.match(r"\s*(/\S*ld-linux\S*)", row):
                copies["ld.so"] = Path(linker[1])
                copies[Path(linker[1]).name] = Path(linker[1])
    for name, origin in copies.items():
        shutil.copyfile(origin.resolve(), tree / "lib" / name)
    for option, value in (
        ("--set-interpreter", INTERPRETER),
        ("--set-rpath", "$ORIGIN/../lib"),
    ):
        run("patchelf", "--force-rpath", option, value, python)
    return copies


def settle(tree: Path) -> None:
    """Compile the modules, and give every file a fixed mode."""
    compileall.compile_dir(
        tree,
        quiet=2,  # Windows-only and template modules do not compile
        stripdir=str(tree),
        prependdir=INSTALLED,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    for path in tree.rglob("*"):
        program = path.parent.name == "bin" or path.name == "ld.so"
        path.chmod(0o755 if path.is_dir() or program else 0o644)
        os.utime(path, (EPOCH, EPOCH))


def one_file(tree: Path, to: Path, version: str, work: Path) -> None:
    """Write the launcher with *tree* appended to *to*."""
    files = [path for path in sorted(tree.rglob("*")) if path.is_file()]
    rows = [f"{path.stat().st_size} {path.relative_to(tree)}\n" for path in files]
    manifest = "".join(rows).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        add(tar, "MANIFEST", manifest)
        for path in sorted(tree.rglob("*")):
            name = str(path.relative_to(tree))
            if path.is_dir():
                row = tarfile.TarInfo(name)
                row.type, row.mode, row.mtime = tarfile.DIRTYPE, 0o755, EPOCH
                tar.addfile(row)
            else:
                add(tar, name, path.read_bytes(), path.stat().st_mode & 0o777)
    digest = hashlib.sha256(archive.getvalue()).hexdigest()
    stream = gzip.compress(archive.getvalue(), mtime=0)
    launcher = work / "launcher"
    flags = ("-Os", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-Wl,--build-id=none")
    run("gcc", *flags, "-o", launcher, "launcher.c", "-lz", cwd=HERE)
    name = f"{version}-{digest[:16]}"
    footer = f"{MAGIC} {len(stream)} {name} {len(manifest)} {zlib.crc32(manifest):x}\n"
    to.write_bytes(launcher.read_bytes() + stream + footer.ljust(FOOTER).encode())
    to.chmod(0o755)


def add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    """Add one file to *tar*."""
    row = tarfile.TarInfo(name)
    row.size, row.mode, row.mtime = len(content), mode, EPOCH
    tar.addfile(row, io.BytesIO(content))


def packages(tree: Path, out: Path, version: str, work: Path) -> None:
    """Write the .deb and the .rpm: the tree at its place, and the one file for other hosts."""
    run("patchelf", "--set-interpreter", f"{INSTALLED}/lib/ld.so", tree / "bin/python3")
    os.utime(tree / "bin/python3", (EPOCH, EPOCH))
    texts = work / "texts"
    for source in sorted((HERE / "files").iterdir()):
        texts.mkdir(exist_ok=True)
        shutil.copyfile(source, texts / source.name)
    shutil.copyfile(ROOT / "LICENSE", texts / "copyright")
    file = f"dirtune-linux-{ARCH}"
    shutil.copyfile(out / file, texts / file)
    generated(texts)
    description = (HERE / "nfpm.yaml").read_text()
    values = {"TREE": tree, "TEXTS": texts, "VERSION": version}
    for key, value in {**values, "FILE": file}.items():
        description = description.replace(f"@{key}@", str(value))
    for man in sorted((texts / "man").glob("*.1.gz")):
        description += f"  - {{src: {man}, dst: /usr/share/man/man1/{man.name}}}\n"
    (work / "nfpm.yaml").write_text(description)
    for kind in ("deb", "rpm"):
        run(
            *("nfpm", "package", "-p", kind, "-f", work / "nfpm.yaml", "-t", out),
            env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)},
        )


def generated(texts: Path) -> None:
    """Write the man pages and the shell completions with the dirtune of this checkout."""
    dirtune = Path(sys.executable).parent / "dirtune"
    for shell in ("bash", "zsh", "fish"):
        env = {**os.environ, "_DIRTUNE_COMPLETE": f"{shell}_source"}
        (texts / f"completion.{shell}").write_text(run(dirtune, env=env))
    (texts / "man").mkdir()
    for name, text in manpages.pages(EPOCH):
        page = gzip.compress(text.encode(), mtime=0)
        (texts / "man" / f"{name}.1.gz").write_bytes(page)
    for path in texts.rglob("*"):
        os.utime(path, (EPOCH, EPOCH))


def sbom(copies: dict[str, Path], version: str) -> str:
    """Return the bill of materials in CycloneDX 1.5: Python, its packages, the libraries."""
    components = [
        component(name, one.version, f"pkg:pypi/{name}@{one.version}")
        for name, one in requirements().items()
    ]
    components.append(component("cpython", platform.python_version(), None))
    owners = set()
    for origin in copies.values():
        # Debian's database has the names from before /lib was moved below /usr.
        real = str(origin.resolve())
        found = subprocess.run(
            ("dpkg-query", "-S", real, real.removeprefix("/usr")),
            check=False,
            capture_output=True,
            text=True,
        )
        owners |= {row.partition(":")[0] for row in found.stdout.splitlines()}
    for owner in sorted(owners):
        number = run("dpkg-query", "-W", "-f", "${Version}", owner)
        components.append(component(owner, number, f"pkg:deb/debian/{owner}@{number}"))
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component("dirtune", version, None, "application")},
        "components": components,
    }
    return json.dumps(document, indent=2) + "\n"


def component(name: str, version: str, purl: str | None, kind: str = "library") -> dict[str, str]:
    """Return one component of the bill of materials."""
    found = {"type": kind, "name": name, "version": version, "bom-ref": purl or name}
    return {**found, "purl": purl} if purl else found


def main() -> None:
    """Build everything into dist/, or into the folder that is the only argument."""
    os.environ["SOURCE_DATE_EPOCH"] = str(EPOCH)
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    out = Path(sys.argv[1] if sys.argv[1:] else ROOT / "dist").resolve()
    work = ROOT / "build/dist"
    for folder in (out, work):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    built = wheel(out)
    version = built.name.split("-")[1]
    tree = work / "tree"
    copies = make_tree(tree, built)
    settle(tree)
    one_file(tree, out / f"dirtune-linux-{ARCH}", version, work)
    packages(tree, out, version, work)
    (out / "dirtune.cdx.json").write_text(sbom(copies, version))
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(out.iterdir())
    ]
    (out / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    main()
