"""Load a probe that was built ahead of time: NAME.bpf.o, which libbpf fits to the running kernel.

libbpf compares the types that the object was built with to those of the kernel
(/sys/kernel/btf/vmlinux), and corrects the offsets of members ("compile once, run everywhere").
Neither a compiler nor kernel headers are needed. Programs, links and maps belong to descriptors of
this process, so the kernel removes them when the process ends, for whatever reason.
"""

import ctypes
import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dirtune.errors import NotPossible
from dirtune.probes import btf, perf
from dirtune.probes.libbpf import NAME, library, reason, warnings
from dirtune.probes.probe import Point, Probe, Way

HERE = Path(__file__).parent
KINDS = frozenset({"tracepoint", "clock", "fentry", "kprobe", "kretprobe"})
"""The kinds of points that an object can be attached to."""
# enum bpf_map_type in linux/bpf.h: BPF_MAP_TYPE_PERCPU_HASH, _PERCPU_ARRAY and _STACK_TRACE
_PER_CPU, _STACKS = (5, 6), 7
SHARED = ("cpu_now", "irq_names")
"""The maps that all objects share: the first one makes them, and the next ones use them."""
_BATCH = 256  # entries of a map that are read with one call
_END = errno.ENOENT
_OF_THIS_MACHINE = f"_{os.uname().machine}"
"""What the name of a program ends in that reads registers, and so exists for each architecture."""


def load(probe: Probe[Any], way: Way, beside: Iterable["Prebuilt"] = ()) -> "Prebuilt":
    """Load the object of *probe* and attach it in *way*; it shares maps with those *beside* it.

    Raises `NotPossible` with one line: the words of libbpf, of the verifier or of the kernel.
    """
    libbpf = library()
    if libbpf is None:
        raise NotPossible(f"{NAME} is not installed")
    name = f"{probe.name}.bpf.o"
    try:
        content = (HERE / name).read_bytes()
    except OSError as error:
        raise NotPossible(f"{name} cannot be read: {error.strerror}") from error
    functions = {point.function for point in (*way.points, *probe.empty)}
    loaded = Prebuilt(libbpf, name, content, functions, beside)
    try:
        for point in way.points:
            loaded.attach(point)
    except NotPossible:
        loaded.close()
        raise
    return loaded


class Prebuilt:
    """An object in the kernel: its programs, where they are attached, and its maps by name."""

    def __init__(
        self,
        libbpf: ctypes.CDLL,
        name: str,
        content: bytes,
        functions: set[str],
        beside: Iterable["Prebuilt"] = (),
    ) -> None:
        """Open the object in *content*, and load those of its programs that *functions* names.

        The maps that all objects share are those of the objects *beside* it, if these have them.
        """
        self._libbpf, self._name = libbpf, name
        self._links: dict[Point, list[int]] = {}
        self._tables: dict[str, Table] = {}
        self._types: dict[str, tuple[int, int]] = {}
        with warnings(libbpf) as words:
            self._object = libbpf.bpf_object__open_mem(content, len(content), None)
            if not self._object:
                why = most_precise(words) or reason(ctypes.get_errno())
                raise NotPossible(
                    f"{name} is no BPF object for this machine ({why}). Install dirtune again"
                )
            program = None
            while program := libbpf.bpf_object__next_program(self._object, program):
                called = libbpf.bpf_program__name(program).decode()
                used = called.removesuffix(_OF_THIS_MACHINE) in functions
                libbpf.bpf_program__set_autoload(program, used)
            failed = self._share(beside) or libbpf.bpf_object__load(self._object)
        if failed:
            self.close()
            raise NotPossible(self._failure("loaded", failed, words))

    def attach(self, point: Point) -> None:
        """Attach the program of *point*."""
        program = self._program(point.function)
        with warnings(self._libbpf) as words:
            links = self._attached(program, point)
            for link in links:
                if not link:
                    number = ctypes.get_errno()
                    raise NotPossible(self._failure(f"attached to {point.target}", number, words))
                self._links.setdefault(point, []).append(link)

    def detach(self, point: Point) -> None:
        """Detach the program of *point*; its maps remain."""
        for link in self._links.pop(point, ()):
            self._libbpf.bpf_link__destroy(link)

    def descriptor(self, function: str) -> int:
        """Return the descriptor of a program."""
        return int(self._libbpf.bpf_program__fd(self._program(function)))

    def __getitem__(self, table: str) -> "Table":
        """Return the map called *table* in the C program."""
        if table not in self._tables:
            types = self._types.get(table)
            self._tables[table] = Table(self._libbpf, self._object, table, types)
        return self._tables[table]

    def close(self) -> None:
        """Detach and unload everything. Another call does nothing."""
        for point in list(self._links):
            self.detach(point)
        self._tables.clear()
        if self._object:
            self._libbpf.bpf_object__close(self._object)
        self._object = None

    def shared(self, name: str) -> int | None:
        """Return the descriptor of the map *name*; None if this object does not have it."""
        map_ = self._libbpf.bpf_object__find_map_by_name(self._object, name.encode())
        return int(self._libbpf.bpf_map__fd(map_)) if map_ else None

    def _share(self, beside: Iterable["Prebuilt"]) -> int:
        """Use the maps of other objects. Return 0, or the number of an error."""
        for name in SHARED:
            mine = self._libbpf.bpf_object__find_map_by_name(self._object, name.encode())
            theirs = next((at for one in beside if (at := one.shared(name)) is not None), None)
            if mine and theirs is not None:
                # Afterwards libbpf returns the numbers of the types in the other object.
                self._types[name] = _types_of(self._libbpf, mine)
                failed = int(self._libbpf.bpf_map__reuse_fd(mine, theirs))
                if failed:
                    return failed
        return 0

    def _program(self, function: str) -> int:
        for name in (function, f"{function}{_OF_THIS_MACHINE}"):
            program = self._libbpf.bpf_object__find_program_by_name(self._object, name.encode())
            if program:
                return int(program)
        raise NotPossible(f"{self._name} has no program {function} for this machine")

    def _attached(self, program: int, point: Point) -> Iterator[int | None]:
        match point.kind:
            case "clock":
                yield from self._clocks(program, int(point.target))
            case "kprobe" | "kretprobe":
                returns, function = point.kind == "kretprobe", point.target.encode()
                yield self._libbpf.bpf_program__attach_kprobe(program, returns, function)
            case _:
                yield self._libbpf.bpf_program__attach(program)

    def _clocks(self, program: int, hertz: int) -> Iterator[int | None]:
        for cpu in perf.online_cpus():
            descriptor = perf.open_clock(cpu, hertz)
            if link := self._libbpf.bpf_program__attach_perf_event(program, descriptor):
                yield link
            else:
                number = ctypes.get_errno()
                os.close(descriptor)  # a link closes the descriptor itself
                ctypes.set_errno(number)
                yield None

    def _failure(self, done: str, number: int, words: list[str]) -> str:
        """Return one line that says what failed, with the most precise *words* about it."""
        why = f"{self._name} cannot be {done}: {reason(number)}"
        return f"{why} ({precise})" if (precise := most_precise(words)) else why


def most_precise(words: list[str]) -> str | None:
    """Return the line of libbpf's *words* that says most: the verifier's, or else libbpf's first.

    The verifier ends with `processed N insns`, after the line with its reason.
    """
    lines = [line.strip().removeprefix("libbpf: ") for line in words]
    ends = [at for at, line in enumerate(lines) if line.startswith("processed ") and at]
    # A refusal of another program's load may follow; the first one is the cause.
    return next(filter(None, (lines[ends[0] - 1] if ends else "", *lines)), None)


class Table(Mapping[Any, Any]):
    """A map of an object. A key is a ctypes value; a value of a per-CPU map is an array of copies.

    The type of keys and values is read from the object's own BTF.
    """

    def __init__(
        self,
        libbpf: ctypes.CDLL,
        object_: int,
        name: str,
        numbers: tuple[int, int] | None = None,
    ) -> None:
        """Find the map *name*; *numbers* are those of the types of its keys and values."""
        map_ = libbpf.bpf_object__find_map_by_name(object_, name.encode())
        if not map_:
            raise NotPossible(f"The object has no map {name}")
        self._libbpf = libbpf
        self._descriptor = libbpf.bpf_map__fd(map_)
        self._entries = libbpf.bpf_map__max_entries(map_)
        kind = libbpf.bpf_map__type(map_)
        if kind == _STACKS:  # libbpf forgets the types, because the kernel does not take them
            key, value = ctypes.c_uint32, ctypes.c_uint64 * (libbpf.bpf_map__value_size(map_) // 8)
        else:
            types = libbpf.bpf_object__btf(object_)
            numbers = numbers or _types_of(libbpf, map_)
            key, value = (btf.layout(libbpf, types, number) for number in numbers)
        self._key, self._step = key, ctypes.sizeof(key)
        self._value = value
        if kind in _PER_CPU:
            if ctypes.sizeof(value) % 8:
                raise NotPossible(f"The copies of the map {name} are no multiple of 8 bytes")
            self._value = value * libbpf.libbpf_num_possible_cpus()

    def __getitem__(self, key: int) -> Any:  # noqa: ANN401  (the C program's type)
        """Return the value of an integer *key*. Raises `KeyError` if the map lacks it."""
        value = self._value()
        failed = self._libbpf.bpf_map_lookup_elem(
            self._descriptor, ctypes.byref(self._key(key)), ctypes.byref(value)
        )
        if failed:
            raise KeyError(key)
        return value

    def items(self) -> Any:  # noqa: ANN401  (an ItemsView would look up each key again)
        """Return each key with its value, read in batches if the kernel can (Linux 5.6)."""
        with suppress(_NoBatches):
            return self._in_batches()
        return self._one_by_one()

    def walk(self, number: int) -> Iterator[int]:
        """Yield the addresses of stack *number*, the innermost address first."""
        with suppress(KeyError):
            for address in self[number]:
                if not address:
                    return
                yield address

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self.items())

    def __len__(self) -> int:
        return len(self.items())

    def _in_batches(self) -> list[tuple[Any, Any]]:
        size, rows = _BATCH, []
        # The kernel writes the place to go on from, which is as large as a key or a number.
        place = ctypes.create_string_buffer(max(8, ctypes.sizeof(self._key)))
        begin = None
        while True:
            keys, values = (self._key * size)(), (self._value * size)()
            count = ctypes.c_uint(size)
            result = self._libbpf.bpf_map_lookup_batch(
                self._descriptor, begin, place, keys, values, ctypes.byref(count), None
            )
            if result == -errno.ENOSPC:  # a bucket has more entries than the batch
                size *= 2
                continue
            if result not in {0, -_END}:
                raise _NoBatches
            rows += [
                (self._key.from_buffer(keys, n * self._step), values[n])
                for n in range(count.value)
            ]
            if result:
                return rows
            begin = place

    def _one_by_one(self) -> list[tuple[Any, Any]]:
        rows, before = [], None
        # A map that changes may go back to its beginning, so the number of steps is limited.
        for _ in range(self._entries):
            key, value = self._key(), self._value()
            if self._libbpf.bpf_map_get_next_key(self._descriptor, before, ctypes.byref(key)):
                break
            before = ctypes.byref(key)
            if not self._libbpf.bpf_map_lookup_elem(self._descriptor, before, ctypes.byref(value)):
                rows.append((key, value))
        return rows


def _types_of(libbpf: ctypes.CDLL, map_: int) -> tuple[int, int]:
    """Return the numbers of the types of a map's keys and values in the BTF of its object."""
    return libbpf.bpf_map__btf_key_type_id(map_), libbpf.bpf_map__btf_value_type_id(map_)


class _NoBatches(Exception):
    """The kernel cannot read this map in batches."""
