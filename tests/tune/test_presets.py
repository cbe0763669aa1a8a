"""The paper's settings on nodes, from what the script prints there."""

import subprocess

import pytest

from dirtune.tune import presets
from dirtune.tune.presets import PRESETS, judged, parse

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
    assert found["nginx: keepalive_timeout"] == ("75s (nginx's own)", None)


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
