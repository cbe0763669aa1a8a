"""Read the types of a structure from BTF: of the running kernel, or of an object of dirtune.

Source: /sys/kernel/btf/vmlinux and the section `.BTF` of an object, read with libbpf; the format
is in Documentation/bpf/btf.rst. With the offsets in the kernel's structures, bcc compiles a probe
without kernel headers, which take an emulated director half a minute to compile. With the types of
a map, dirtune reads what the C program wrote without a second declaration of it.
"""

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from dirtune.errors import NotPossible
from dirtune.probes.libbpf import any_library

_INT, _ARRAY, _STRUCT = 1, 3, 4  # BTF_KIND_*
_NAMES_OF_TYPES = (8, 9, 10)  # BTF_KIND_TYPEDEF, _VOLATILE, _CONST
_SIGNED = 1 << 24  # BTF_INT_SIGNED, in the word behind an integer
_BIT_FIELDS = 1 << 31
_INTEGERS = {
    (1, False): ctypes.c_uint8,
    (2, False): ctypes.c_uint16,
    (4, False): ctypes.c_uint32,
    (8, False): ctypes.c_uint64,
    (1, True): ctypes.c_int8,
    (2, True): ctypes.c_int16,
    (4, True): ctypes.c_int32,
    (8, True): ctypes.c_int64,
}


class _Type(ctypes.Structure):
    # The third word is the size of the type, or the number of the type that it names.
    _fields_ = (("name", ctypes.c_uint), ("info", ctypes.c_uint), ("size", ctypes.c_uint))


class _Member(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint), ("type", ctypes.c_uint), ("offset", ctypes.c_uint))


class _Array(ctypes.Structure):
    _fields_ = (("type", ctypes.c_uint), ("index", ctypes.c_uint), ("length", ctypes.c_uint))


def offsets(members: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int] | None:
    """Return the offset of each (structure, member) in bytes.

    Return None if libbpf is not installed, if the kernel has no BTF, or if the offset of a member
    cannot be found, for example because the member is inside a nested structure.
    """
    library = any_library()
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


def layout(library: ctypes.CDLL, btf: int, number: int) -> Any:  # noqa: ANN401  (a ctypes class)
    """Return the ctypes class of type *number*: an integer, an array, or a structure of those.

    Raises `NotPossible` if the type has another part.
    """
    at = library.btf__type_by_id(btf, number)
    if not at:
        raise NotPossible(f"The object has no type {number}")
    kind = _Type.from_address(at)
    behind = at + ctypes.sizeof(_Type)
    match _kind(kind):
        case code if code in _NAMES_OF_TYPES:
            return layout(library, btf, kind.size)
        case code if code == _INT:
            if library.btf__name_by_offset(btf, kind.name) == b"char":
                return ctypes.c_char
            encoding = ctypes.c_uint.from_address(behind).value
            return _INTEGERS[kind.size, bool(encoding & _SIGNED)]
        case code if code == _ARRAY:
            array = _Array.from_address(behind)
            return layout(library, btf, array.type) * array.length
        case code if code == _STRUCT:
            fields = [
                (library.btf__name_by_offset(btf, row.name).decode(), row.type)
                for row in _members(kind, behind)
            ]
            types = [(name, layout(library, btf, number)) for name, number in fields]
            return type("Copy", (ctypes.Structure,), {"_fields_": types})
        case code:
            raise NotPossible(f"A map has a type of kind {code}, which dirtune cannot read")


def _kind(kind: _Type) -> int:
    return int(kind.info >> 24 & 0x1F)


def _members(kind: _Type, behind: int) -> ctypes.Array[_Member]:
    rows: ctypes.Array[_Member] = (_Member * (kind.info & 0xFFFF)).from_address(behind)
    return rows


@contextmanager
def _kernel(library: ctypes.CDLL) -> Iterator[int | None]:
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
    mask = 0xFFFFFF if kind.info & _BIT_FIELDS else 0xFFFFFFFF
    for row in _members(kind, at + ctypes.sizeof(_Type)):
        if library.btf__name_by_offset(btf, row.name) == member.encode():
            return int((row.offset & mask) // 8)
    return None
