"""Read offsets of structure members from the running kernel's type information (BTF).

Source: /sys/kernel/btf/vmlinux, read with libbpf. With these offsets, a probe compiles without
kernel headers, which take an emulated director half a minute to compile.
"""

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_STRUCT = 4  # BTF_KIND_STRUCT
_BIT_FIELDS = 1 << 31
_LIBRARIES = ("libbpf.so.1", "libbpf.so.0")


class _Type(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint), ("info", ctypes.c_uint), ("size", ctypes.c_uint))


class _Member(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint), ("type", ctypes.c_uint), ("offset", ctypes.c_uint))


def libbpf() -> ctypes.CDLL | None:
    """Return the library libbpf; None if it is not installed."""
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def offsets(members: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int] | None:
    """Return the offset of each (structure, member) in bytes.

    Return None if libbpf is not installed, if the kernel has no BTF, or if the offset of a member
    cannot be found, for example because the member is inside a nested structure.
    """
    library = libbpf()
    if library is None:
        return None
    with _kernel(library) as btf:
        if btf is None:
            return None
        by_member = {
            (struct, name): _offset(library, btf, struct, name) for struct, name in members
        }
    known = {member: offset for member, offset in by_member.items() if offset is not None}
    return known if len(known) == len(by_member) else None


@contextmanager
def _kernel(library: ctypes.CDLL) -> Iterator[int | None]:
    library.btf__load_vmlinux_btf.restype = ctypes.c_void_p
    library.btf__free.argtypes = (ctypes.c_void_p,)
    library.btf__type_by_id.restype = ctypes.c_void_p
    library.btf__type_by_id.argtypes = (ctypes.c_void_p, ctypes.c_uint)
    library.btf__find_by_name_kind.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint)
    library.btf__name_by_offset.restype = ctypes.c_char_p
    library.btf__name_by_offset.argtypes = (ctypes.c_void_p, ctypes.c_uint)
    btf = library.btf__load_vmlinux_btf()
    # Before libbpf 1.0, an error is returned as a pointer into the last page.
    usable = bool(btf) and btf < 2**64 - 4096
    try:
        yield btf if usable else None
    finally:
        if usable:
            library.btf__free(btf)


def _offset(library: ctypes.CDLL, btf: int, struct: str, member: str) -> int | None:
    number = library.btf__find_by_name_kind(btf, struct.encode(), _STRUCT)
    if number < 0:
        return None
    at = library.btf__type_by_id(btf, number)
    kind = _Type.from_address(at)
    rows = (_Member * (kind.info & 0xFFFF)).from_address(at + ctypes.sizeof(_Type))
    mask = 0xFFFFFF if kind.info & _BIT_FIELDS else 0xFFFFFFFF
    for row in rows:
        if library.btf__name_by_offset(btf, row.name) == member.encode():
            return int((row.offset & mask) // 8)
    return None
