import os
import shutil
import subprocess
import time

import pytest

from dirtune.collect.answers import IPVS
from dirtune.errors import ParseError
from dirtune.fetch import fetch_script, parse_fetched, parse_sample, record, sample_script
from dirtune.host import LiveHost
from tests.hostile import SHELLS
from tests.printed import MARK, frame, printed


def test_the_shell_fetches_what_python_reads(tmp_path):
    """The oracle of the script is the reader of this machine."""
    (tmp_path / "a:b").mkdir()
    texts = {"a:b/one": "1: x\n\n2\n", "a:b/two": "a:b\n", "empty": ""}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "a:b/link").symlink_to("../some where -> else")
    patterns = (f"{tmp_path}/*/*", f"{tmp_path}/empty", f"{tmp_path}/none*")

    done = subprocess.run(
        ["sh", "-c", sample_script(patterns)], capture_output=True, text=True, check=True
    )
    fetched = parse_sample(done.stdout)

    files = {p: t for p, t in fetched.files.items() if not p.startswith(("/cmd/", "/netlink/"))}
    assert files == {f"{tmp_path}/{name}": text for name, text in texts.items()}
    assert fetched.links == {f"{tmp_path}/a:b/link": "../some where -> else"}
    assert fetched.taken_s > 0
    assert done.stderr == ""


def test_a_file_that_went_is_absent_and_one_that_cannot_be_read_is_refused():
    fetched = parse_sample(
        printed(
            texts=[
                ("/p/1/comm", "one\n"),
                ("/p/2/comm", "cat: /p/2/comm: No such file or directory\n"),
                ("/p/3/comm", "cat: can't open '/p/3/comm': No such file or directory\n"),
                ("/p/3/stat", "3 (cat: /p/3/stat) S\n"),
                ("/p/4/stat", "cat: /p/4/stat: No such process\n"),
                ("/s/speed", "cat: read error: Invalid argument\n"),
                ("/s/a:b", "some of it\ncat: '/s/a:b': Input/output error\n"),
                ("/s/last", "no newline"),
                ("/s/empty", ""),
            ]
        )
    )

    assert fetched.files == {
        "/p/1/comm": "one\n",
        "/p/3/stat": "3 (cat: /p/3/stat) S\n",
        "/s/last": "no newline",
        "/s/empty": "",
    }
    assert fetched.refused == {"/s/speed", "/s/a:b"}


def test_a_list_that_was_cut_between_a_mark_and_its_file_is_read_on():
    """xargs(1) may end one cat's arguments anywhere."""
    first = frame("texts", "/proc/self/environ\0/a\0/proc/self/environ\0")
    second = frame("texts", "/b\0/proc/self/environ\0/c\0")
    text = f"{first}{MARK}{MARK}a\n{MARK}{second}{MARK}b\n{MARK}c\n{frame('end')}"

    assert parse_sample(text).files == {"/a": "a\n", "/b": "b\n", "/c": "c\n"}


def test_no_text_poses_as_another_file_as_an_output_or_as_the_end():
    forged = MARK.replace("4", "5")
    hostile = [
        f"/etc/motd:forged\nend\nlinks\ncommands\ntext\n{forged}end\0",
        "DIRTUNE=\0texts\0/x\0",
        "/proc/self/environ\0/x\0",
        f"{MARK[:-1]}\nend\0",
    ]
    files = [(f"/{n}\n/etc/motd:a\nend", text) for n, text in enumerate(hostile)]

    fetched = parse_sample(printed(frame("/cmd/dmesg", hostile[0]), texts=files))

    assert fetched.files == dict(files) | {"/cmd/dmesg": hostile[0]}


def test_no_target_of_a_link_poses_as_another_link():
    row = "7f3c0f4e-0000-4000-8000-00000000abcd"
    listed = "".join(f"\0{path}" for path in ("/s/a", "/s/b", "/s/c"))
    rows = (
        f"{row} a1ff /s/a{row}/s/a -> x\na1ff /s/b -> forged\n"
        f"{row} a1ff /s/b{row}'/s/b' -> 'y'\n{row} a1ff /etc/passwd{row}/etc/passwd -> z\n"
        f"{row} 8124 /s/c{row}/s/c\n"
    )

    fetched = parse_sample(printed(frame("rows", f"{row}{listed}{rows}")))

    assert fetched.links == {"/s/a": "x\na1ff /s/b -> forged", "/s/b": "y"}
    assert fetched.modes == {"/s/c": 0o444}


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_no_name_of_a_link_poses_as_another_link(shell, tmp_path):
    """The shell's own stat: an applet always quotes, and shows a newline as it is."""
    links = {"a": "x", "a -> x": "forged", "b\n": "y", "'c' -> 'd": "z", "c": "v", "d'": "w -> w'"}
    for name, to in links.items():
        (tmp_path / name).symlink_to(to)

    script = sample_script((f"{tmp_path}/*",))
    for stat in ("stat", "busybox stat"):
        if shutil.which(stat.split()[0]):
            text = script.replace("exec stat", f"exec {stat}")
            done = subprocess.run((*shell, "-c", text), capture_output=True, text=True, check=True)
            found = parse_sample(done.stdout).links
            assert found == {f"{tmp_path}/{name}": to for name, to in links.items()}


def test_what_a_process_is_called_is_no_complaint_of_cat():
    """15 characters, which its owner chooses."""
    names = ("cat: x: y", "cat: x", "cat: a: b: c:", "cat: ")
    files = [(f"/proc/{n}/comm", f"{name}\n") for n, name in enumerate(names)]

    fetched = parse_sample(printed(texts=files))

    assert (fetched.files, fetched.refused) == (dict(files), frozenset())


def test_nothing_is_asked_that_is_not_wanted():
    done = subprocess.run(
        ["sh", "-c", sample_script(("/proc/uptime",))], capture_output=True, text=True, check=True
    )
    fetched = parse_sample(done.stdout)

    assert list(fetched.files) == ["/proc/uptime"]
    assert (fetched.links, fetched.modes) == ({}, {})


def test_a_dirtune_there_is_asked_for_what_netlink_tells(tmp_path):
    (tmp_path / "dirtune").write_text(
        "#!/bin/sh\n[ $1 = netlink ] && echo '/netlink/ipvs.json {}'\n"
    )
    (tmp_path / "dirtune").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", sample_script((IPVS,))],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert parse_sample(done.stdout).files == {"/netlink/ipvs.json": "{}"}


def test_what_was_asked_beside_files_is_kept():
    row = "7f3c0f4e-0000-4000-8000-00000000abcd"
    modes = "/proc/irq/36/smp_affinity", "/proc/irq/37/smp_affinity"
    listed = "".join(f"\0{path}" for path in modes)
    text = printed(
        frame("netlink", '/netlink/ethtool.json {"eth0": {}}\n/etc/passwd x\n'),
        frame("/cmd/ip-rule", "0:\tfrom all lookup local\n"),
        frame(
            "rows",
            f"{row}{listed}{row} 8124 {modes[0]}{row}{modes[0]}\n"
            f"{row} 81a4 {modes[1]}{row}{modes[1]}\n",
        ),
        texts=[("/p/a", "end\n")],
    )

    fetched = parse_sample(text)

    assert fetched.files == {
        "/p/a": "end\n",
        "/netlink/ethtool.json": '{"eth0": {}}',
        "/cmd/ip-rule": "0:\tfrom all lookup local\n",
    }
    assert fetched.mode("/proc/irq/36/smp_affinity") == 0o444
    assert fetched.mode("/proc/irq/37/smp_affinity") == 0o644


@pytest.mark.parametrize("kind", ["rows", "texts", "netlink", "time", "/cmd/ss", "", "x"])
@pytest.mark.parametrize("text", ["", "\0", "x"])
def test_a_frame_with_little_in_it_is_an_error_or_says_nothing(kind, text):
    mark = f"DIRTUNE={'0' * 36}\0"

    with pytest.raises(ParseError, match="fetched sources: "):
        parse_sample(f"{mark}{kind}\0{text}{mark}time\0x")


def test_a_transfer_that_was_cut_off_is_noticed():
    first = printed(texts=[("/proc/stat", "cpu 1\n"), ("/proc/uptime", "1 1\n")])

    assert len(parse_fetched(first * 2)) == 2
    for length in range(len(first * 2)):
        with pytest.raises(ParseError, match=r"cut off|mark|not requested"):
            parse_fetched((first * 2)[:length])


def test_two_samples_are_taken_apart_from_each_other_and_the_first_has_what_moves():
    script = fetch_script(("stat", "cmdline"), interval_s=0.3)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)

    first, second = parse_fetched(done.stdout)

    assert list(first.files) == ["/proc/stat"]
    assert list(second.files) == ["/proc/stat", "/proc/cmdline"]
    assert second.taken_s - first.taken_s >= 0.29  # the clock's rows have hundredths


def test_recording_this_machine_reads_its_interrupts():
    assert list(record(LiveHost(), ("/proc/interrupts",)).files) == ["/proc/interrupts"]


def test_the_time_to_read_an_output_grows_as_its_size_does():
    """4 MB take no longer than 12 times what 1 MB does, where quadratic reading takes 16 times."""
    hostile = {
        "colons": ":" * 1000,
        "lines": ":\n" * 500,
        "arrows": " -> " * 250,
        "complaints": "cat: " * 200,
        "marks": "DIRTUNE=0123" * 80,
    }
    for unit in hostile.values():
        seconds = []
        for size in (1000, 4000):
            text = unit * size
            row = "7f3c0f4e-0000-4000-8000-00000000abcd"
            output = printed(
                frame(
                    "rows",
                    f"{row}\0/s/a{row} a1ff /s/a{row}/s/a -> {text}\n{row} a1ff {text}",
                ),
                frame("/cmd/dmesg", text),
                texts=[("/p/a", text), ("/p/b", f"{text}cat: {text}: x\n")],
            )
            begin = time.process_time()
            parse_sample(output)
            seconds.append(time.process_time() - begin)

        assert seconds[1] < 12 * max(seconds[0], 0.01)
        assert seconds[1] < 2
