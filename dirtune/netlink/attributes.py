"""Conversion of netlink attributes from bytes to named tuples and back. Pure.

Format: `struct nlattr` of include/uapi/linux/netlink.h (Linux 6.1). A named tuple describes one
list of attributes: its first field is attribute 1, its second field attribute 2. A field whose
default is bytes holds a text or nested attributes; every other field is a number in this machine's
byte order. If the message of an older kernel lacks an attribute, the field keeps its default. An
attribute of a newer kernel that has no field is skipped.
"""

import struct
import sys
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

_Named = TypeVar("_Named", bound=tuple[Any, ...])
_NLATTR = struct.Struct("=HH")
_ONE = struct.Struct("=I")
_PAD = (b"", b"\0\0\0", b"\0\0", b"\0")
_NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class _Layout(NamedTuple):
    struct: struct.Struct
    heads: tuple[int, ...]
    """Length and type of each attribute, as one number, in the order of the message."""
    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    """Function that takes the unpacked values followed by `missing`, and returns the fields in
    order."""
    missing: tuple[Any, ...]


class Reader(Generic[_Named]):
    """Reader that turns attributes into a named tuple of the class *named*.

    Thousands of messages have the same layout, so the reader tries the layout of the last message
    of the same length. If the layout fits, the reader unpacks the message in one step; otherwise
    it reads the message attribute by attribute.
    """

    def __init__(self, named: type[_Named]) -> None:
        self._make: Callable[[tuple[Any, ...]], _Named] = named._make  # type: ignore[attr-defined]
        self._defaults: tuple[Any, ...] = tuple(named._field_defaults.values())  # type: ignore[attr-defined]
        self._layouts: dict[int, _Layout] = {}

    def __call__(self, data: bytes) -> _Named:
        """Return the attributes in *data*; if a type is repeated, the last one counts.

        Raises `ValueError` if *data* is not a list of attributes, or if the size of a number is
        unknown.
        """
        layout = self._layouts.get(len(data))
        if layout is not None:
            values = layout.struct.unpack(data)
            if values[::2] == layout.heads:
                return self._make(layout.pick(values + layout.missing))
        self._layouts[len(data)] = layout = _layout(data, self._defaults)
        return self._make(layout.pick(layout.struct.unpack(data) + layout.missing))


def _layout(data: bytes, defaults: tuple[Any, ...]) -> _Layout:
    form = "="
    heads: list[int] = []
    places: dict[int, int] = {}
    at, end = 0, len(data)
    while at + _NLATTR.size <= end:
        length, kind = _NLATTR.unpack_from(data, at)
        if not _NLATTR.size <= length <= end - at:
            raise ValueError(
                f"an attribute declares {length} bytes, but only {end - at} bytes are left"
            )
        after = min((length + 3) & ~3, end - at)
        number = (kind & _NLA_TYPE_MASK) - 1
        form += f"I{_form(number, length - _NLATTR.size, defaults)}{after - length}x"
        places[number] = 2 * len(heads) + 1
        heads.append(_ONE.unpack_from(data, at)[0])
        at += after
    missing = [number for number in range(len(defaults)) if number not in places]
    places |= {number: 2 * len(heads) + place for place, number in enumerate(missing)}
    return _Layout(
        struct.Struct(f"{form}{end - at}x"),
        tuple(heads),
        itemgetter(*(places[number] for number in range(len(defaults)))),
        tuple(defaults[number] for number in missing),
    )


def _form(number: int, size: int, defaults: tuple[Any, ...]) -> str:
    if not 0 <= number < len(defaults) or isinstance(defaults[number], bytes):
        return f"{size}s"
    if size not in _WIDTHS:
        raise ValueError(f"attribute {number + 1} is not a number, because it has {size} bytes")
    return _WIDTHS[size]


def number(value: bytes) -> int:
    """Return the unsigned number that *value* holds in this machine's byte order."""
    return int.from_bytes(value, sys.byteorder)


def text(value: bytes) -> str:
    """Return the text that *value* holds, without the NUL at its end."""
    return value.rstrip(b"\0").decode(errors="backslashreplace")


def raw(kind: int, value: bytes) -> bytes:
    """Return an attribute of type *kind* that holds *value*."""
    length = len(value) + _NLATTR.size
    return _NLATTR.pack(length, kind) + value + _PAD[length & 3]


def nest(kind: int, value: bytes) -> bytes:
    """Return an attribute of type *kind* that holds the attributes *value*."""
    return _NLATTR.pack(len(value) + _NLATTR.size, kind | _NLA_F_NESTED) + value


def u16(kind: int, value: int) -> bytes:
    """Return an attribute of type *kind* that holds a 16-bit number."""
    return struct.pack("=HHHxx", 6, kind, value)


def u32(kind: int, value: int) -> bytes:
    """Return an attribute of type *kind* that holds a 32-bit number."""
    return struct.pack("=HHI", 8, kind, value)
