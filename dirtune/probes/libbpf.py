"""The functions of libbpf that dirtune calls, with their types.

Source: the C interface of libbpf 1.0 and newer (tools/lib/bpf/libbpf.h, bpf.h and btf.h in the
kernel's sources), which keeps its functions for the whole life of `libbpf.so.1`. From 1.0 on, a
function that returns a pointer returns NULL and sets errno, and one that returns a number returns
the negative errno.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_char_p, c_int, c_size_t, c_uint, c_void_p
from functools import cache

NAME = "libbpf.so.1"
_OLD = "libbpf.so.0"
_WARNING = 0  # LIBBPF_WARN in libbpf.h
_UNKNOWN_ERROR = 524  # ENOTSUPP, which the kernel returns although user space has no name for it

_FUNCTIONS: dict[str, tuple[object, ...]] = {
    # name: (result, *arguments)
    "libbpf_set_print": (c_void_p, c_void_p),
    "libbpf_num_possible_cpus": (c_int,),
    "bpf_enable_stats": (c_int, c_int),
    "bpf_object__open_mem": (c_void_p, c_char_p, c_size_t, c_void_p),
    "bpf_object__load": (c_int, c_void_p),
    "bpf_object__close": (None, c_void_p),
    "bpf_object__btf": (c_void_p, c_void_p),
    "bpf_object__next_program": (c_void_p, c_void_p, c_void_p),
    "bpf_object__find_program_by_name": (c_void_p, c_void_p, c_char_p),
    "bpf_object__find_map_by_name": (c_void_p, c_void_p, c_char_p),
    "bpf_program__name": (c_char_p, c_void_p),
    "bpf_program__set_autoload": (c_int, c_void_p, ctypes.c_bool),
    "bpf_program__fd": (c_int, c_void_p),
    "bpf_program__attach": (c_void_p, c_void_p),
    "bpf_program__attach_perf_event": (c_void_p, c_void_p, c_int),
    "bpf_program__attach_kprobe": (c_void_p, c_void_p, ctypes.c_bool, c_char_p),
    "bpf_link__destroy": (c_int, c_void_p),
    "bpf_map__fd": (c_int, c_void_p),
    "bpf_map__reuse_fd": (c_int, c_void_p, c_int),
    "bpf_map__type": (c_int, c_void_p),
    "bpf_map__key_size": (c_uint, c_void_p),
    "bpf_map__value_size": (c_uint, c_void_p),
    "bpf_map__max_entries": (c_uint, c_void_p),
    "bpf_map__btf_key_type_id": (c_uint, c_void_p),
    "bpf_map__btf_value_type_id": (c_uint, c_void_p),
    "bpf_map_get_next_key": (c_int, c_int, c_void_p, c_void_p),
    "bpf_map_lookup_elem": (c_int, c_int, c_void_p, c_void_p),
    "bpf_map_lookup_batch": (
        *(c_int, c_int, c_void_p, c_void_p, c_void_p, c_void_p),
        *(ctypes.POINTER(c_uint), c_void_p),
    ),
    "btf__load_vmlinux_btf": (c_void_p,),
    "btf__free": (None, c_void_p),
    "btf__type_by_id": (c_void_p, c_void_p, c_uint),
    "btf__find_by_name_kind": (c_int, c_void_p, c_char_p, c_uint),
    "btf__name_by_offset": (c_char_p, c_void_p, c_uint),
}
_Printer = ctypes.CFUNCTYPE(c_int, c_int, c_void_p, c_void_p)


def library() -> ctypes.CDLL | None:
    """Return libbpf 1.0 or newer; None if it is not installed."""
    return _opened(NAME)


def any_library() -> ctypes.CDLL | None:
    """Return libbpf, if need be a version before 1.0; None if it is not installed.

    A version before 1.0 lacks some functions, and returns an error as a pointer into the last
    page of memory.
    """
    return _opened(NAME) or _opened(_OLD)


@cache
def _opened(name: str) -> ctypes.CDLL | None:
    try:
        opened = ctypes.CDLL(name, use_errno=True)
    except OSError:
        return None
    for function, (result, *arguments) in _FUNCTIONS.items():
        try:
            declared = getattr(opened, function)
        except AttributeError:
            continue
        declared.restype, declared.argtypes = result, arguments
    return opened


def reason(number: int) -> str:
    """Return the words for an error *number*, which may be negative."""
    if abs(number) == _UNKNOWN_ERROR:
        return os.strerror(errno.ENOTSUP)
    return os.strerror(abs(number))


@contextmanager
def warnings(libbpf: ctypes.CDLL) -> Iterator[list[str]]:
    """Collect the lines that libbpf would print to standard error within the context."""
    lines: list[str] = []
    format_text = ctypes.CDLL(None).vsnprintf
    format_text.argtypes = (c_void_p, c_size_t, c_void_p, c_void_p)

    def collect(level: int, text: int, values: int) -> int:
        if level == _WARNING:
            # The verifier's words are at the end, and may be long.
            buffer = ctypes.create_string_buffer(1 << 20)
            format_text(buffer, len(buffer), text, values)
            lines.extend(buffer.value.decode(errors="replace").splitlines())
        return 0

    printer = _Printer(collect)
    before = libbpf.libbpf_set_print(ctypes.cast(printer, c_void_p))
    try:
        yield lines
    finally:
        libbpf.libbpf_set_print(before)
