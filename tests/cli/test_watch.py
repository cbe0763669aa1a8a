"""What `dirtune watch` refuses before it begins."""

import pytest
from click.testing import CliRunner

from dirtune.cli import main

REFUSED = {
    ("--when", "drop"): "Did you mean drops?",
    ("--when", "irq 999999 > 5/s"): "the table has no interrupt 999999",
    ("--when", "cpu.busy > 5 % on 4095"): "No such CPU: 4095. This host has 0",
    ("--when", "net.rx_dropped > 5/s on lq"): "This host has",
    ("--when", "drops", "--exec", "no-such-command-here x"): "the command was not found",
    ("--when", "drops", "--exec", "'"): "--exec",
    ("--when", "drops", "--capture", "0.5"): "at least 1 s",
    ("--when", "drops", "--metrics", "/no-such-folder/x"): "/no-such-folder/x",
    ("--when", "drops", "--times", "0"): "--times",
}


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_a_wrong_option_is_refused_in_one_line(words, tmp_path):
    done = CliRunner().invoke(main, ["watch", "--out", str(tmp_path), "--duration", "1", *words])

    assert done.exit_code == 2
    assert REFUSED[words] in done.stderr.splitlines()[-1]
    assert not list(tmp_path.glob("2*"))


def test_a_watch_without_a_fault_ends_by_itself(tmp_path):
    words = ("watch", "--when", "cpu.steal >= 99.9 % on all", "--duration", "1")
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path)])

    assert (done.exit_code, done.output) == (0, "")
