"""The lines of a configuration: includes, limits, and what must not be read."""

import pytest

from dirtune.errors import ParseError, SourceMissing
from dirtune.keepalived import reading
from tests.keepalived.given import Given, conf

SERVER = "virtual_server 10.0.0.{} 80 {{\n lvs_sched rr\n}}\n"


def addresses(found):
    return [server.endpoint.first for server in found.virtual_servers]


def test_an_include_is_relative_to_its_file_and_reads_all_that_match():
    found = conf(
        "include conf.d/*.conf\n" + SERVER.format(9),
        {
            "/etc/conf.d/b.conf": SERVER.format(2),
            "/etc/conf.d/a.conf": SERVER.format(1) + "include more/{x,y}\n",
            "/etc/conf.d/more/x": SERVER.format(3),
            "/etc/conf.d/more/y": SERVER.format(4),
            "/etc/conf.d/c.txt": SERVER.format(5),
        },
    )

    assert addresses(found) == ["10.0.0.1", "10.0.0.3", "10.0.0.4", "10.0.0.2", "10.0.0.9"]
    assert found.files == (
        "/etc/k.conf",
        "/etc/conf.d/a.conf",
        "/etc/conf.d/more/x",
        "/etc/conf.d/more/y",
        "/etc/conf.d/b.conf",
    )
    assert found.problems == ()


def test_a_problem_names_the_file_and_line():
    found = conf("\ninclude a\n\nbar\n", {"/etc/a": "# x\nfoo\n"})

    places = [(str(p.place), p.why) for p in found.problems]
    assert places == [
        ("/etc/a: line 2", "Unknown keyword 'foo'"),
        ("/etc/k.conf: line 4", "Unknown keyword 'bar'"),
    ]


@pytest.mark.parametrize(("keyword", "count"), [("include", 0), ("includer", 1), ("includea", 1)])
def test_an_unreadable_include_is_skipped_and_named_only_if_it_is_strict(keyword, count):
    found = conf(f"{keyword} a\n{SERVER.format(1)}", {"/etc/a": None})

    assert len(found.problems) == count
    assert addresses(found) == ["10.0.0.1"]


def test_keepalived_skips_an_executable_include():
    found = conf("includea a\n", {"/etc/a": SERVER.format(1)}, executable=("/etc/a",))

    assert addresses(found) == []
    assert "executable" in found.problems[0].why


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("include k.conf\n", {}),
        ("include a\n", {"/etc/a": "include b\n", "/etc/b": "include a\n"}),
        ("$A=$A\n$A x\n", {}),
        ("$A=$B \\\n x\n$B=$A \\\n y\n$A\n", {}),
        ("~SEQ(N, 1, 999999999) use_pid_dir $N\n", {}),
        ("~SEQ(A, 9999) ~SEQ(B, 9999) use_pid_dir\n", {}),
        ("~SEQ(N, 1, 999999999) x$N\n", {}),
    ],
)
def test_what_never_ends_is_refused_in_one_line(text, others):
    with pytest.raises(ParseError) as error:
        conf(text, others)

    assert "\n" not in str(error.value)


def test_a_chain_of_different_includes_ends():
    others = {f"/etc/{n}": f"include {n + 1}\n" for n in range(200)}
    with pytest.raises(ParseError, match="includes within includes"):
        conf("include 0\n", others)


def test_a_binary_file_is_refused():
    with pytest.raises(ParseError, match="binary"):
        conf("\x7fELF\x00\x00")
    with pytest.raises(ParseError, match="/etc/a: this is a binary file"):
        conf("include a\n", {"/etc/a": "\x00"})


def test_a_text_of_another_kind_is_refused():
    with pytest.raises(ParseError, match="not a keepalived"):
        conf("".join(f"word{n} x\n" for n in range(2000)))


def test_a_configuration_that_does_not_exist_is_missing():
    with pytest.raises(SourceMissing):
        reading.read(Given({}), "/etc/none")


def test_blocks_that_do_not_end_are_named():
    found = conf("vrrp_instance A {\n interface eth0\n")

    assert "'}' is missing" in found.problems[0].why
    assert found.instances[0].interface == "eth0"


def test_a_line_is_cut_where_keepalived_cuts_it():
    # MAXBUF of lib/parser.h is 1024, and fgets(3) keeps one for the NUL.
    found = conf(f"aa {'x' * 1019} bb\n")

    assert [problem.why for problem in found.problems] == [
        "Unknown keyword 'aa'",
        "Unknown keyword 'bb'",
    ]


def test_the_host_chooses_its_lines():
    text = "@one $P=101\n@two $P=99\nvrrp_instance A {\n priority $P\n @one state MASTER\n}\n"

    (first,) = conf(text, config_id="one").instances
    (second,) = conf(text, config_id="two").instances

    assert (first.priority, first.state) == (101, "MASTER")
    assert (second.priority, second.state) == (99, "BACKUP")
