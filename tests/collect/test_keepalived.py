"""keepalived's configuration in a record, which must never hold its secrets."""

import json

import pytest

from dirtune.cli.snapshot import redacted
from dirtune.collect import netlink
from dirtune.collect.answers import KEEPALIVED
from dirtune.collect.keepalived import PATH, parse_keepalived, read_keepalived
from dirtune.errors import ParseError, SourceMissing
from dirtune.host import LiveHost, RecordedHost
from dirtune.snapshot import patterns_of, take
from tests.keepalived.test_reading import SECRET, SECRETS, WHOLE


def tree(tmp_path, text):
    path = tmp_path / PATH[1:]
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/hostname").write_text("lb1.example.org\n")
    return LiveHost(tmp_path)


def test_the_record_has_what_was_read_and_no_secret(tmp_path):
    host = tree(tmp_path, SECRETS)

    (text,) = netlink.answers(host, (KEEPALIVED,)).values()

    assert SECRET not in text
    assert parse_keepalived(text) == read_keepalived(host)
    assert read_keepalived(RecordedHost({KEEPALIVED: text}, {})) == read_keepalived(host)


def test_no_record_copies_the_file_itself():
    assert not [pattern for pattern in patterns_of() if pattern.startswith("/etc/keepalived")]


def test_the_lines_for_the_hosts_own_name_are_read(tmp_path):
    host = tree(tmp_path, "vrrp_instance A {\n@lb1 priority 7\n@lb2 priority 8\n}\n")

    assert read_keepalived(host).instances[0].priority == 7


def test_a_host_without_keepalived_has_no_configuration(tmp_path):
    with pytest.raises(SourceMissing, match=r"keepalived\.conf does not exist"):
        read_keepalived(LiveHost(tmp_path))

    (text,) = netlink.answers(LiveHost(tmp_path), (KEEPALIVED,)).values()
    assert parse_keepalived(text).files == ()


def test_a_configuration_that_cannot_be_read_says_why_in_the_record(tmp_path):
    host = tree(tmp_path, "include keepalived.conf\n")

    (text,) = netlink.answers(host, (KEEPALIVED,)).values()

    with pytest.raises(ParseError, match="includes itself"):
        parse_keepalived(text)
    assert "includes itself" in take(RecordedHost({KEEPALIVED: text}, {})).errors["keepalived"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"conf": {}}', '{"conf": 7}'])
def test_a_damaged_record_is_refused(text):
    with pytest.raises(ParseError):
        parse_keepalived(text)


def test_a_redacted_record_has_no_name_and_no_address(tmp_path):
    host = tree(tmp_path, WHOLE.replace("vrrp_instance A", "vrrp_instance zqsite"))
    (text,) = netlink.answers(host, (KEEPALIVED,)).values()

    (sample,) = redacted((RecordedHost({KEEPALIVED: text}, {}),))

    hidden = sample.files[KEEPALIVED]
    for word in ("zqsite", "10.0.0.1", "10.0.1.9", "fd00::1", "/usr/bin/check", "nobody"):
        assert word not in hidden, word
    assert json.loads(hidden)["conf"]["instances"][0]["priority"] == 150
    assert parse_keepalived(hidden).virtual_servers[0].real_servers[0].weight == 3
