"""Files that stay open and are read again, on this machine."""

import os
import shutil
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from dirtune.watch import sources
from dirtune.watch.expression import SETS, parse
from dirtune.watch.judge import Judge
from dirtune.watch.metrics import KEEPALIVED
from dirtune.watch.seconds import RING
from dirtune.watch.sources import Sources


def test_a_file_is_read_whole_and_anew(tmp_path):
    big, grows = tmp_path / "big", tmp_path / "grows"
    big.write_bytes(b"0123456789" * 30_000)
    grows.write_text("1")
    with closing(Sources([str(big), str(grows), "/no/such/file"])) as opened:
        first = opened.moment().texts
        grows.write_text("22")
        second = opened.moment().texts

    assert first == {str(big): big.read_bytes(), str(grows): b"1"}
    assert second[str(grows)] == b"22"


def test_the_file_of_a_process_that_ended_is_missing():
    process = subprocess.Popen(("sleep", "60"))
    path = f"/proc/{process.pid}/schedstat"
    with closing(Sources([path])) as opened:
        assert path in opened.moment().texts
        process.kill()
        process.wait()

        assert opened.moment().texts == {}


def test_keepalived_is_found_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_SEARCH_S", 0)
    program = shutil.copy(shutil.which("sleep"), tmp_path / "keepalived")
    seen = []
    with closing(Sources([KEEPALIVED])) as opened:
        if opened.moment().texts:
            pytest.skip("keepalived runs on this machine")
        for _ in range(2):
            with subprocess.Popen((program, "60")) as process:
                time.sleep(0.2)  # until it has started
                text = opened.moment().texts[KEEPALIVED].split()
                delay_ns = Path(f"/proc/{process.pid}/schedstat").read_text().split()[1]
                seen.append((int(text[0]) == process.pid, text[2].decode() == delay_ns))
                process.kill()
        gone = opened.moment().texts

    assert seen == [(True, True)] * 2
    assert gone == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start another user's program")
def test_other_users_programs_of_that_name_do_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_SEARCH_S", 0)
    tmp_path.chmod(0o755)
    link = tmp_path / "keepalived"
    link.symlink_to(shutil.which("sleep"))  # root's, but the file is not keepalived's
    argvs = ((link, "60"), ("setpriv", "--reuid=65534", "--clear-groups", link, "60"))
    with closing(Sources([KEEPALIVED])) as opened:
        if opened.moment().texts:
            pytest.skip("keepalived runs on this machine")
        for argv in argvs:
            with subprocess.Popen(argv) as process:
                _wait_for_name(process.pid, b"keepalived")
                texts = opened.moment().texts
                process.kill()
            assert texts == {}


def _wait_for_name(pid, name):
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}/comm").read_bytes().strip() != name and time.monotonic() < end:
        time.sleep(0.01)


def test_a_sample_takes_less_than_a_thousandth_of_a_second_of_cpu_time():
    expressions = tuple(parse(text) for text in SETS["drops"])
    judge = Judge(expressions)
    paths = {path: None for e in expressions for path in e.metric.sources} | dict.fromkeys(RING)
    spent = []
    with closing(Sources(paths)) as opened:
        for _ in range(10):
            began = time.process_time()
            for _ in range(20):
                judge.firings(opened.moment())
            spent.append((time.process_time() - began) / 20)

    # The quietest batch, because other processes empty the caches. The file of interrupts grows
    # with the number of CPUs.
    assert min(spent) < 0.001 * max(1, (os.cpu_count() or 1) / 8)
