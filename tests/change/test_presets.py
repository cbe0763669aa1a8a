"""The paper's settings on nodes, from what the script prints there."""

import os
import subprocess
import time

import pytest

from dirtune.change import presets
from dirtune.change.presets import PRESETS, judged, parse

# Debian 12 with its own nginx.conf, shortened; the values are a fresh install's.
FRESH = """fs/file-max 9223372036854775807
net/ipv4/ip_local_port_range 32768\t60999
net/core/somaxconn 4096
net/ipv4/tcp_max_syn_backlog 2048
net/core/rmem_max 212992
net/core/rmem_default 212992
net/core/wmem_max 212992
net/core/wmem_default 212992
open-files 1024
nginx-runs /etc/nginx/nginx.conf
nginx user www-data;
nginx worker_processes auto;
nginx error_log /var/log/nginx/error.log;
nginx events {
nginx \tworker_connections 768;
nginx \t# multi_accept on;
nginx }
nginx http {
nginx \t# access_log off;
nginx \taccess_log /var/log/nginx/access.log;
nginx server { listen 80 default_server; }
nginx }
"""
# What the paper's authors would set by hand today.
TUNED = """fs/file-max 150000
net/ipv4/ip_local_port_range 1024 65535
net/core/somaxconn 8192
net/ipv4/tcp_max_syn_backlog 4096
net/core/rmem_max 5242880
net/core/rmem_default 5242880
net/core/wmem_max 5242880
net/core/wmem_default 5242880
open-files unlimited
nginx-runs /srv/nginx.conf
nginx worker_processes 4; error_log /dev/null crit;
nginx events { worker_connections 4096; }
nginx http { access_log off; keepalive_timeout 0; server { listen 80 backlog=4096; } }
"""


def verdicts(role, text):
    return {j.preset.setting: j.verdict for j in judged(frozenset({role}), parse(text))}


def will_do(role, text):
    return {name: verdict.will_do for name, verdict in verdicts(role, text).items()}


def test_a_fresh_client_lacks_descriptors_and_ports():
    assert will_do("client", FRESH) == {
        "open files": False,
        "fs.file-max": True,
        "net.ipv4.ip_local_port_range": False,
        "net.core.{rmem,wmem}_{max,default}": True,
    }


def test_a_fresh_server_lacks_what_nginx_does_not_ask_for():
    found = verdicts("real server", FRESH)

    assert {name for name, verdict in found.items() if verdict.will_do is False} == {
        "nginx: listen backlog",
        "nginx: access_log",
        "nginx: worker_connections",
    }
    assert found["nginx: listen backlog"].now == "511"
    assert found["nginx: access_log"].now == "/var/log/nginx/access.log", "a comment is none"
    assert found["nginx: keepalive_timeout"] == ("75s (nginx's default)", None)


def test_what_the_paper_set_will_do_but_for_its_buffers():
    found = {**will_do("client", TUNED), **will_do("real server", TUNED)}

    assert {name for name, good in found.items() if good is False} == {
        "net.core.{rmem,wmem}_{max,default}"
    }
    assert found["nginx: worker_processes"] is None, "a number is for a person to say"


def test_a_node_that_says_nothing_is_not_judged():
    assert set(will_do("real server", "").values()) == {None}
    assert {verdict.now for verdict in verdicts("real server", "").values()} == {None}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.setting)
def test_each_says_why(preset):
    assert preset.roles <= {"client", "real server"}
    assert len(preset.why) > 40


def test_the_script_reads_this_machine():
    done = subprocess.run(["sh", "-c", presets.SCRIPT], capture_output=True, text=True, check=True)

    limit = subprocess.run(
        ["sh", "-c", "ulimit -Sn"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert parse(done.stdout).values["open-files"] == limit
    assert done.stderr == ""


ODD = (
    "open-files many",
    "net/ipv4/ip_local_port_range ",
    "fs/file-max " + "9" * 5000,
    "nginx-runs c\nnginx error_log  ;",
    "nginx-runs c\nnginx worker_connections many;",
    "nginx-runs c\nnginx listen 80 backlog=x;",
    "".join(
        f"net/core/{name} x\n" for name in ("rmem_max", "rmem_default", "wmem_max", "wmem_default")
    ),
)


@pytest.mark.parametrize("text", ODD)
def test_what_no_node_says_is_not_known_and_costs_nothing_else(text):
    seen = parse(f"{FRESH}{text}\n")

    assert len(list(judged(frozenset({"client", "real server"}), seen))) == len(PRESETS)
    assert will_do("client", FRESH)["fs.file-max"] is True


@pytest.mark.parametrize("unit", ["access_log x ", "listen backlog=1", "; ", "{", "  "])
def test_a_configuration_is_read_in_linear_time(unit):
    seen = parse(f"nginx-runs c\nnginx {unit * 20_000}")
    began = time.process_time()

    found = list(judged(frozenset({"real server"}), seen))

    assert time.process_time() - began < 2
    assert all(len(each.verdict.now or "") < 200 for each in found)


def test_a_line_of_a_configuration_is_no_setting_of_the_node():
    text = "nginx-runs c\nnginx # \x0cnet/core/somaxconn 9999\x85open-files 1\n"

    assert parse(f"net/core/somaxconn 128\n{text}").values == {"net/core/somaxconn": "128"}


@pytest.mark.skipif(os.geteuid() != 0, reason="starts a process of another user")
def test_a_process_of_anybody_names_no_file_that_root_reads(tmp_path):
    (tmp_path / "mine").write_text("worker_connections 7;\n")
    title = f"nginx: master process x -c {tmp_path}/mine"
    argv = [
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "bash",
        "-c",
        f"exec -a '{title}' sleep 9",
    ]
    with subprocess.Popen(argv) as other:
        time.sleep(0.3)
        done = subprocess.run(
            ["sh", "-c", presets.SCRIPT], capture_output=True, text=True, check=True
        )
        other.kill()

    assert "mine" not in done.stdout


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    title = f"nginx: master process x -c {tmp_path}/pipe"
    with subprocess.Popen(["bash", "-c", f"exec -a '{title}' sleep 9"]) as own:
        time.sleep(0.3)
        done = subprocess.run(
            ["sh", "-c", presets.SCRIPT], capture_output=True, text=True, check=True, timeout=5
        )
        own.kill()

    assert f"nginx-runs {tmp_path}/pipe\n" in done.stdout
