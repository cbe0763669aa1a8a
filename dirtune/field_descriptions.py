"""Describe the fields of types: the docstrings that stand below the fields in the source."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise

import msgspec


def by_type(kind: object) -> dict[str, dict[str, str]]:
    """Return the descriptions of the fields of *kind* and of all types in it.

    The keys are the names of the types, and below them the names of the fields in JSON. The result
    is empty where dirtune is installed without its source.
    """
    return {each.cls.__name__: _fields(each) for each in _structs(kind)}


def _structs(kind: object) -> Iterator[msgspec.inspect.StructType | msgspec.inspect.DataclassType]:
    seen: set[type] = set()
    left = [msgspec.inspect.type_info(kind)]
    while left:
        match left.pop():
            case (msgspec.inspect.StructType() | msgspec.inspect.DataclassType()) as struct if (
                struct.cls not in seen
            ):
                seen.add(struct.cls)
                yield struct
                left += [field.type for field in struct.fields]
            case (
                msgspec.inspect.UnionType(types=types)
                | msgspec.inspect.TupleType(item_types=types)
            ):
                left += types
            case msgspec.inspect.CollectionType(item_type=item):
                left.append(item)
            case msgspec.inspect.DictType(value_type=value):
                left.append(value)


def _fields(
    struct: msgspec.inspect.StructType | msgspec.inspect.DataclassType,
) -> dict[str, str]:
    docstrings: dict[str, str] = {}
    for cls in reversed(struct.cls.__mro__):
        docstrings |= _docstrings(cls)
    names = {field.name: field.encode_name for field in struct.fields}
    return {names[name]: text for name, text in docstrings.items() if name in names}


def _docstrings(cls: type) -> dict[str, str]:
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):
        return {}
    (defined,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(defined, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(defined.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(below.value.value, str)
    }
