"""Hold what is read against keepalived itself: `keepalived -t` names the lines it complains of.

A word that is no keyword shows how keepalived expands a line: it complains of each such word.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dirtune.host import LiveHost
from dirtune.keepalived.reading import read

SAMPLES = sorted(Path("/usr/share/doc/keepalived/samples").glob("keepalived.conf.*"))
KEEPALIVED = shutil.which("keepalived", path="/usr/sbin:/usr/bin")
pytestmark = pytest.mark.skipif(KEEPALIVED is None, reason="keepalived is not installed")
# What depends on the machine, or is found after all lines were read.
_ELSEWHERE = re.compile(
    r"doesn't exist|not found, ignoring|No script set|deprecated|Please use global|preference|"
    r"loopback|cannot track route|"
    r"invalid IP|Invalid rule|Unable to find|cannot load|script|SECURITY|Truncating auth_pass"
)

EXPANDED = {
    "comments": 'aa # x\nbb ! y\n"cc # d" e # f\ngg\\# h\nii \\! j\n# k\n  ! l\nmm\\\\# n\n',
    "definitions": "$A=one\n$B_1 = two\n$C=$A-x\n$A x\n${A}b x\n$Ab\n$C c\n$C,d\nz$A\nz${A}$A\n",
    "a definition again": "$A=one\n$A\n$A=two\n$A\n$UNKNOWN x\n${UNKNOWN}\n",
    "lines of a definition": "$A= aa 1 \\\n   bb 2 \\\n cc 3\nbefore\n$A\nafter\nx $A\ny $A z\n",
    "a blank line ends one": "$A= aa 1 \\\n\nbb\n$A\n",
    "nested definitions": "$B=b1 \\\n b2\n$A=a1 \\\n $B \\\n a2\n$A\nend\n",
    "predefined": "x${_HASH}y\nx${_BANG}y\n",
    "conditions": "@here aa\n@there bb\n@^here cc\n@^there dd\n@here\n@here @^there ee\n",
    "conditions of one value": "@high net_namespace high\n@here pp 170\n@low pp 85\nqq\n",
    "a condition in a definition": "$B=@there\n$B bb\nend\n",
    "a definition in a condition": "@here $A=aa\n@there $A=bb\n$A\n",
    "SEQ": "~SEQ(N, 3) a$N\n~SEQ(N, 2, 4) b$N\n~SEQ(N, 9, -3, 1) c$N\n~SEQ(N, -2) d$N\n"
    "~SEQ(N, 0) e$N\n~SEQx(N, 9, 11) f$N\n~SEQ(N, 0x10, 0x11) g$N\n~SEQ(N, 010, 9) h$N\n",
    "SEQ within SEQ": "~SEQ(A, 2) ~SEQ(B, 2) x${A}y$B\nend\n",
    "SEQ with definitions": "$L=2\n~SEQ(N, $L, 3) a$N\n",
    "bad SEQ": "~SEQ(N) a\n~SEQ(N, 1, 0, 2) b\n~SEQ(N, 3, 1, 2) c\n~SEQ(N, 1, -1, 2) d\nend\n",
    "LST": "~LST(V, p, q, r) a$V\n~LST({A, B}, {1, 2}, {3, 4}) b${A}c$B\n~LST({A,B},{5}) d${A}e\n",
    "bad LST": "~LST(V) a\n~LST({A}, {1, 2}) b\nend\n",
    "SEQ in a definition": "$A=~SEQ(N, 2) x$N \\\n y\n$A\nend\n",
    "braces": "aa { bb } cc\n{ dd }\n'ee { ff'\n\"gg {\" hh { ii\n}\n",
    "an extra brace": "aa\n}\nbb\n",
    "a block that is unknown": "virtual_server 10.0.0.1 80 {\n foo {\n  bar 1\n }\n lb_algo rr\n"
    "}\n",
    "quotes": 'aa "b c\ndd\n',
    "a carriage return": "aa\r\nbb\r\n",
    "no final newline": "aa\nbb",
}
COMPLAINED = {
    "an unknown keyword": "virtual_server 10.0.0.1 80 {\n lb_algo rr\n delay_lop 3\n}\n",
    "a scheduler": "virtual_server 10.0.0.1 80 {\n lvs_sched rrr\n}\n",
    "a method": "virtual_server 10.0.0.1 80 {\n lvs_method DRR\n}\n",
    "an address": "virtual_server 10.0.0.999 80 {\n foo\n}\nvirtual_server a 80 {\n}\n",
    "a port": "virtual_server 10.0.0.1 65536 {\n foo\n}\n",
    "a mark": "virtual_server fwmark -1 {\n foo\n}\n",
    "a real server": "virtual_server 10.0.0.1 80 {\n real_server 10.0.0 80 {\n  foo\n }\n}\n",
    "numbers": "virtual_server 10.0.0.1 80 {\n delay_loop x\n delay_loop 0\n retry 0\n quorum 0\n"
    " weight 0\n hysteresis -1\n persistence_timeout 0\n delay_before_retry 0\n retry 1x\n}\n",
    "numbers of a real server": "virtual_server 10.0.0.1 80 {\n real_server 10.0.0.2 80 {\n"
    "  weight -1\n  weight 0\n  weight 2147483648\n  uthreshold x\n  inhibit_on_failure maybe\n"
    "  TCP_CHECK {\n   connect_timeout 0\n   retry x\n   foo\n  }\n }\n}\n",
    "tunnels": "virtual_server 10.0.0.1 80 {\n lvs_method TUN type gue\n lvs_method TUN type xx\n"
    " lvs_method TUN csum\n lvs_method TUN type gre remcsum\n lvs_method TUN type gre csum\n"
    " lvs_method TUN type gue port 6080 remcsum\n lvs_method TUN port 0 type gue\n}\n",
    "a protocol": "virtual_server 10.0.0.1 80 {\n protocol Tcp\n protocol ICMP\n}\n",
    "flags": "virtual_server 10.0.0.1 80 {\n lvs_sched rr\n sh-port\n flag-1\n}\n",
    "a granularity": "virtual_server 10.0.0.1 80 {\n persistence_granularity 24\n}\n"
    "virtual_server fd00::1 80 {\n persistence_granularity 129\n}\n",
    "a sorry server": "virtual_server 10.0.0.1 80 {\n sorry_server_inhibit\n sorry_server x 1\n"
    "}\n",
    "an instance": "vrrp_instance {\n}\nvrrp_instance A {\n interface lo\n virtual_router_id 256\n"
    " priority 0\n state MASTERR\n advert_int 0\n version 4\n}\n",
    "an instance twice": "vrrp_instance A {\n interface lo\n virtual_router_id 1\n}\n"
    "vrrp_instance A {\n interface lo\n virtual_router_id 2\n}\n",
    "a group": "virtual_server_group G {\n 10.0.0.1 80\n 10.0.0.5-3 80\n 10.0.0.0/33 80\n"
    " 10.0.0.1/24 80\n fwmark x\n fwmark 1 inet5\n 10.0.0.1-300 80\n}\n",
    "a daemon": "global_defs {\n lvs_sync_daemon lo inst A id 256\n}\n",
    "timeouts": "global_defs {\n lvs_timeouts tcp\n lvs_timeouts tcp x udp 3\n"
    " lvs_timeouts foo 3\n}\n",
    "a missing brace": "virtual_server 10.0.0.1 80\n lb_algo rr\n}\n",
}


def complaints(path):
    """Return the lines that keepalived complains of, with the keywords that it does not know.

    Its parent process reads only the global settings, and does not name the file.
    """
    done = subprocess.run(
        [KEEPALIVED, "-t", "-f", path, "-i", "here"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = set()
    for row in (done.stdout + done.stderr).splitlines():
        match = re.match(r"\((?:(?P<file>.*): )?Line (?P<line>\d+)\) (?P<why>.*)", row)
        if not match or _ELSEWHERE.search(match["why"]):
            continue
        word = re.match(r"Unknown keyword '(.*)'", match["why"])
        if word and match["file"] is None:
            continue
        found.add((int(match["line"]), word[1][:40] if word else ""))
    return found, done


def ours(path):
    found = set()
    for problem in read(LiveHost(), str(path), "here").problems:
        if problem.why.startswith("The configuration ends"):
            continue
        word = re.fullmatch(r"Unknown keyword ['\"](.*)['\"]", problem.why)
        found.add((problem.place.line, word[1].replace("\\\\", "\\") if word else ""))
    return found


@pytest.mark.parametrize("name", EXPANDED)
def test_lines_are_expanded_as_keepalived_expands_them(name, tmp_path):
    path = tmp_path / "k.conf"
    path.write_bytes(EXPANDED[name].encode())

    theirs, _ = complaints(path)

    assert theirs
    assert ours(path) == theirs


@pytest.mark.parametrize("name", COMPLAINED)
def test_keepalived_complains_of_the_same_lines(name, tmp_path):
    path = tmp_path / "k.conf"
    path.write_text(COMPLAINED[name])

    theirs, done = complaints(path)

    assert done.returncode
    assert {line for line, _ in ours(path)} == {line for line, _ in theirs}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_the_samples_of_the_documentation_are_read(path):
    theirs, _ = complaints(path)

    assert {line for line, _ in ours(path)} == {line for line, _ in theirs}
