"""The keys that a table of a plan can have, to suggest one for an unknown key."""

from collections.abc import Iterator, Sequence

from msgspec import inspect


def at(kind: type, path: Sequence[str | int]) -> tuple[str, ...]:
    """Return the keys of the table at *path* in a document of type *kind*; none without a table.

    A number in *path* is the place of an element in an array.
    """
    types = [inspect.type_info(kind)]
    for word in path:
        types = [inner for outer in _structs(types) for inner in _below(outer, word)]
    return tuple(
        field.encode_name
        for table in _structs(types)
        if isinstance(table, inspect.StructType)
        for field in table.fields
    )


def _structs(types: Sequence[inspect.Type]) -> Iterator[inspect.Type]:
    """Yield *types*, and the members of each union instead of the union."""
    for kind in types:
        if isinstance(kind, inspect.UnionType):
            yield from _structs(kind.types)
        else:
            yield kind


def _below(outer: inspect.Type, word: str | int) -> Iterator[inspect.Type]:
    match outer, word:
        case inspect.StructType(), str():
            yield from (field.type for field in outer.fields if field.encode_name == word)
        case ((inspect.VarTupleType() | inspect.ListType()), int()):
            yield outer.item_type
        case inspect.DictType(), _:
            yield outer.value_type
