"""Changes are undone in the order they were made, and never by a journal that is damaged."""

import os
import shutil
import time
from pathlib import Path

import msgspec
import pytest

from dirtune import __version__
from dirtune.change import chain, journal
from dirtune.change.action import Saved
from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.set_value import SetValue
from dirtune.change.in_effect import verify
from dirtune.change.plan import Change, Plan
from dirtune.change.record import Applied, Begun, Confirmed, Planned, RolledBack, State
from dirtune.change.transaction import Place, carry_out, confirm, notices, take_back
from dirtune.change.watchdog import watch
from dirtune.checks import Risk
from dirtune.errors import DirtuneError, NotPossible, ParseError
from dirtune.host import WritableHost

HOUR_NS = 3600 * 10**9


@pytest.fixture
def at(tmp_path):
    return Place(tmp_path / "state", tmp_path / "run")


@pytest.fixture
def value(tmp_path):
    path = tmp_path / "value"
    path.write_text("old\n")
    return path


@pytest.fixture
def host(monkeypatch):
    """What is set here are files of the test's own."""
    monkeypatch.setattr(
        WritableHost, "write", lambda self, path, text: Path(path).write_text(text)
    )
    return WritableHost()


def setting(path, before, after):
    action = SetValue(str(path), before, after)
    return Plan((Change(action, Risk.SAFE, "net/x", "set", f"set {path}"),))


@pytest.fixture
def two(value, at, host, monkeypatch):
    """Two changes of one file; the clock was set back an hour between them."""
    first = carry_out(setting(value, "old", "one"), host, at)
    now_ns = time.time_ns
    monkeypatch.setattr("dirtune.change.transaction.time.time_ns", lambda: now_ns() - HOUR_NS)
    return first, carry_out(setting(value, "one", "two"), host, at)


def test_a_clock_that_was_set_back_does_not_change_the_order(two, value, at, host):
    first, second = two

    assert [path.stem for path in journal.paths(at.state)] == [first, second]
    assert journal.find(at.state, None).stem == second
    assert [(each.journal, each.holds) for each in verify(at, host)] == [(second, True)]
    with pytest.raises(NotPossible, match=f"{second} set or saved {value} after it"):
        take_back(at, host, first)

    assert take_back(at, host).journal == second
    assert value.read_text().strip() == "one"
    assert take_back(at, host, first).journal == first
    assert value.read_text().strip() == "old"


def test_a_journal_that_was_moved_away_keeps_its_number(two, at, host, value):
    """Moved back, it must not compete with a later one: the clock would decide."""
    first, second = journal.paths(at.state)
    away = second.rename(f"{second}.damaged")

    third = carry_out(setting(value, "two", "three"), host, at)

    assert third.startswith("000003-")
    away.rename(second)
    assert journal.paths(at.state) == (first, second, journal.path_of(at.state, third))


def test_names_sort_as_the_changes_were_made(two):
    assert list(two) == sorted(two)
    assert [name[:7] for name in two] == ["000001-", "000002-"]


def test_what_was_taken_back_keeps_its_number(two, at, host):
    take_back(at, host)

    assert carry_out(Plan(), host, at)[:7] == "000003-"


OLD = "20990101T000000.000000Z"
OLD_LINES = """\
{"record":"planned","journal":"%(name)s","made":"2099-01-01T00:00:00Z","boot":"b","changes":[\
{"action":{"kind":"set-value","path":"%(path)s","before":"old","after":"one"},"risk":"safe",\
"reason":"net/x","fix":"set","title":"set"}],"confirm_s":0.0,"forced":null,\
"schema":"dirtune/journal/1"}
{"record":"begun","index":0,"saved":{"text":"old\\n"}}
{"record":"applied","at_s":5.0}
"""


@pytest.fixture
def old(value, at):
    """A journal as dirtune wrote it before there were numbers and checksums."""
    kind = msgspec.json.decode(msgspec.json.encode(SetValue("/x", "", "")))
    at.state.mkdir(0o700)
    path = journal.path_of(at.state, OLD)
    text = OLD_LINES % {"name": OLD, "path": value}
    tag = next(name for name in kind if kind[name] not in {"/x", ""})
    path.write_text(text.replace('"kind":"set-value"', f'"{tag}":"{kind[tag]}"'))
    value.write_text("one\n")
    return path


def test_an_old_journal_is_before_all_with_a_number_and_is_still_undone(old, value, at, host):
    new = carry_out(setting(value, "one", "two"), host, at)

    assert new[:7] == "000001-"
    assert [path.stem for path in journal.paths(at.state)] == [OLD, new]
    with pytest.raises(NotPossible, match=f"{new} set or saved {value} after it"):
        take_back(at, host, OLD)
    take_back(at, host)
    take_back(at, host, OLD)
    assert value.read_text().strip() == "old"
    assert journal.load(old).state is State.ROLLED_BACK
    assert b"sum" not in old.read_bytes()


def test_a_damaged_line_of_an_old_journal_is_named(old):
    old.write_bytes(old.read_bytes() + b"rubbish\n")

    with pytest.raises(ParseError, match=r"damaged \(line 4: "):
        journal.load(old)


# --- damage ---


def garbage(path):
    path.write_text("no record\n")


def zeros(path):
    path.write_bytes(bytes(4096))


def without_an_end(path):
    path.write_text("no record")


def a_folder(path):
    path.mkdir()


def a_dead_link(path):
    path.symlink_to(path.parent / "nowhere")


def a_fifo(path):
    os.mkfifo(path)


def of_a_later_dirtune(path):
    path.write_text(
        '{"record":"vowed","oath":{"x":[1]},"version":"9.1","schema":"dirtune/journal/9"}\n{}\n'
    )


def of_no_end(path):
    path.touch(0o600)
    os.truncate(path, 1 << 40)


BROKEN = [
    garbage,
    zeros,
    without_an_end,
    a_folder,
    a_dead_link,
    a_fifo,
    of_a_later_dirtune,
    of_no_end,
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["a", "000001-x", "000002-x", "zzz"])
@pytest.mark.parametrize("breaking", BROKEN)
def test_a_journal_that_cannot_be_read_hinders_no_other(value, at, host, breaking, name):
    carried = carry_out(setting(value, "old", "one"), host, at)
    path = journal.path_of(at.state, name)
    breaking(path)

    (line,) = notices(at, host)
    assert line.startswith(str(path))
    assert [each.journal for each in verify(at, host)] == [carried]
    with pytest.raises(DirtuneError) as refused:
        carry_out(setting(value, "one", "two"), host, at)
    assert str(refused.value) == f"{line} Until then dirtune changes nothing."
    assert value.read_text().strip() == "one"
    take_back(at, host, carried)
    assert value.read_text().strip() == "old"


def test_the_remedy_of_a_damaged_journal_is_a_command_that_mends(value, at, host):
    at.state.mkdir(0o700)
    garbage(journal.path_of(at.state, "it's; me"))
    (line,) = notices(at, host)

    assert os.system(line.rpartition("away: ")[2]) == 0
    assert notices(at, host) == ()
    carry_out(setting(value, "old", "one"), host, at)
    assert value.read_text().strip() == "one"


def test_a_journal_of_a_later_dirtune_says_which(at, host):
    at.state.mkdir(0o700)
    of_a_later_dirtune(journal.path_of(at.state, "x"))

    (line,) = notices(at, host)

    assert "has the schema dirtune/journal/9, written by dirtune 9.1; " in line
    assert f"dirtune {__version__} reads dirtune/journal/1 and dirtune/journal/2" in line


def test_what_waits_is_confirmed_and_watched_beside_a_broken_one(value, at, host, monkeypatch):
    monkeypatch.setattr("dirtune.change.watchdog.arm", lambda *_: 0)
    for step in ("confirmed", "watched"):
        before = value.read_text().strip()
        name = carry_out(setting(value, before, step), host, at, confirm_s=0.3)
        broken = journal.path_of(at.state, f"{step}-broken")
        garbage(broken)
        assert len(notices(at, host)) == 2
        assert len(notices(at, host, settling=True)) == 1
        if step == "confirmed":
            confirm(at, host, name)
        else:
            watch(journal.path_of(at.state, name), at, host)
        broken.unlink()

    assert value.read_text().strip() == "confirmed"


@pytest.fixture
def whole(tmp_path):
    """A journal of every kind of record that is not its last."""
    changes = setting("/x", "old", "new").changes * 2
    path = journal.path_of(tmp_path / "state", "a")
    journal.create(path, Planned("a", "2026-01-01T00:00:00Z", "b", changes, 120))
    for record in (Begun(0, Saved(text="é\n")), Begun(1, Saved()), Applied(5), Confirmed()):
        journal.append(path, record)
    return path


def test_what_is_whole_is_read(whole):
    assert journal.load(whole).state is State.CONFIRMED
    assert len(journal.load(whole).done) == 2


def test_a_bit_that_flips_in_any_byte_is_seen(whole):
    data = whole.read_bytes()
    assert len(data) > 500
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        whole.write_bytes(flipped)
        last = place == len(data) - 1  # the newline: as a power cut, the record is not there
        try:
            entry = journal.load(whole)
        except ParseError:
            continue
        assert last, (place, flipped)
        assert entry.state is State.APPLIED


def test_every_line_that_is_gone_doubled_or_moved_is_seen(whole):
    lines = whole.read_bytes().splitlines(keepends=True)
    count = len(lines)
    orders = [
        *([i for i in range(count) if i != gone] for gone in range(count - 1)),
        *([*range(count), twice] for twice in range(count)),
        *([*range(i), i + 1, i, *range(i + 2, count)] for i in range(count - 1)),
    ]
    for order in orders:
        whole.write_bytes(b"".join(lines[i] for i in order))
        with pytest.raises(ParseError, match=r"damaged \(line"):
            journal.load(whole)


def test_a_record_of_another_journal_is_seen(whole, tmp_path):
    other = journal.path_of(tmp_path / "state", "b")
    journal.create(other, Planned("b", "2026-01-01T00:00:00Z", "b", (), 120))
    journal.append(other, RolledBack("asked"))
    with whole.open("ab") as file:
        file.write(other.read_bytes().splitlines(keepends=True)[1])

    with pytest.raises(ParseError, match=r"damaged \(line 6: checksum is wrong\)"):
        journal.load(whole)


def test_a_copy_of_a_journal_is_not_undone_twice(whole):
    shutil.copy(whole, whole.with_name("b.journal"))
    whole.with_name("b.journal").chmod(0o600)

    with pytest.raises(ParseError, match="a copy of the journal a"):
        journal.load(whole.with_name("b.journal"))


@pytest.mark.parametrize("index", [-1, 2])
def test_a_change_beyond_the_plan_is_damage_and_no_traceback(whole, index):
    journal.append(whole, Begun(index, Saved()))

    with pytest.raises(ParseError, match=r"a change that the plan lacks \(it has 2 changes\)"):
        journal.load(whole)


def test_nothing_is_added_behind_a_damaged_line(whole):
    with whole.open("ab") as file:
        file.write(b"rubbish\n")
    before = whole.read_bytes()

    with pytest.raises(ParseError, match="the last line: checksum is missing"):
        journal.append(whole, Confirmed())
    assert whole.read_bytes() == before


def test_a_checksum_is_of_the_line_and_of_all_before_it():
    first = chain.sealed(b'{"a":1}', None)
    second = chain.sealed(b'{"a":1}', first)

    # printf '{"a":1}' | sha256sum; printf '015abd7f5cc57a2d{"a":1}' | sha256sum
    assert first == b'{"a":1,"sum":"015abd7f5cc57a2d"}'
    assert second == b'{"a":1,"sum":"23abd591feb83378"}'
    assert list(chain.unsealed([first, second])) == [b'{"a":1}'] * 2


def test_a_change_that_the_journal_has_no_room_for_is_not_made(value, at, host, monkeypatch):
    """Else its own journal would be one that nobody reads."""
    monkeypatch.setattr(journal, "_LARGEST_BYTES", 4000)
    monkeypatch.setattr(journal, "_ENDING_BYTES", 1000)
    value.write_text("x" * 1200)
    action = PutFile(str(value), "x" * 1200, "new")

    with pytest.raises(NotPossible, match="Apply the plan in parts"):
        carry_out(Plan((Change(action, Risk.SAFE, "net/x", "put", "put"),)), host, at)

    assert value.read_text() == "x" * 1200
    assert notices(at, host) == ()
