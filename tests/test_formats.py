"""The schema of what dirtune wrote is looked at before anything else of it."""

import io
import re
import tarfile

import msgspec
import pytest

from dirtune import __version__, archive, formats
from dirtune.analyse.profile import Profile
from dirtune.analyse.run import Run
from dirtune.bench import store
from dirtune.cli import profile
from dirtune.errors import ParseError
from dirtune.tune import session
from dirtune.tune.decide import Session

LATER = '{"schema":"dirtune/%s/9","version":"9.1","everything":{"is":["otherwise"]}}'


def load_archive(path):
    data = path.read_bytes()
    with tarfile.open(path, "w:gz") as file:
        member = tarfile.TarInfo("meta.json")
        member.size = len(data)
        file.addfile(member, io.BytesIO(data))
    archive.load(path)


# What reads it, by the name of the schema.
READERS = {
    "run": store.load,
    "tune": session.load,
    "snapshot": load_archive,
    "profile": profile._kept,
}


@pytest.mark.parametrize("name", READERS)
def test_another_schema_is_one_line_that_says_who_wrote_it(name, tmp_path):
    (tmp_path / "file").write_text(LATER % name)

    with pytest.raises(ParseError) as refused:
        READERS[name](tmp_path / "file")

    said = (
        f"has the schema dirtune/{name}/9, written by dirtune 9.1; dirtune {__version__} reads "
        f"dirtune/{name}/1. Use the version that wrote it."
    )
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", READERS)
def test_another_kind_of_document_is_no_such_one(name, tmp_path):
    (tmp_path / "file").write_text('{"schema":"dirtune/irqs/1"}')

    with pytest.raises(ParseError, match=f"dirtune/irqs/1, .*reads dirtune/{name}/1"):
        READERS[name](tmp_path / "file")


@pytest.mark.parametrize("kind", [Run, Session, Profile, archive.Meta])
@pytest.mark.parametrize(
    "text", ["{}", "[]", "", '{"schema":1}', b'{"schema":"\xf5"}', "[" * 100_000]
)
def test_what_has_no_schema_is_no_document(kind, text):
    with pytest.raises(msgspec.DecodeError):
        formats.from_json(text, kind)


def test_a_schema_is_not_printed_at_length():
    said = formats.foreign(f'{{"schema":"{"x" * 10_000}","version":"{"y" * 10_000}"}}', ("a",))

    assert len(said) < 300
    assert re.search("x{60},", said)


def test_what_is_no_document_needs_no_schema():
    assert formats.from_json("[1]", list[int]) == [1]
    assert formats.from_json('{"a":1}', dict[str, object]) == {"a": 1}
