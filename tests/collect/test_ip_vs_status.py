"""/proc/net/ip_vs_status, written by hand from ip_vs_status_show() of the kernel's source."""

import pytest

from dirtune.collect.ip_vs_status import ConnectionTable, parse_ip_vs_status
from dirtune.errors import ParseError

BUSY = """\
Conns:\t5000
Conn buckets:\t1024 (10 bits, lfactor 2)
Conn buckets empty:\t8 (0%)
Conn buckets len-1:\t37 (3%)
Conn buckets len-5:\t179 (17%)
Conn buckets len-7:\t800 (78%)
Services:\t2
Service buckets:\t16 (4 bits, lfactor -3)
Service buckets empty:\t14 (87%)
Service buckets len-1:\t2 (100%)
Stats thread slots:\t1 (max 2)
Stats chain max len:\t456
Stats thread ests:\t1641600
"""
EMPTY = """\
Conns:\t0
Conn buckets:\t0 (0 bits, lfactor 0)
Services:\t0
Service buckets:\t0 (0 bits, lfactor 0)
Stats thread slots:\t0 (max 0)
Stats chain max len:\t0
Stats thread ests:\t0
"""


def test_the_chains_of_the_connection_table():
    table = parse_ip_vs_status(BUSY)

    assert table == ConnectionTable(5000, 1024, {1: 37, 5: 179, 7: 800})
    assert round(table.long_percent, 1) == 78.7


def test_a_namespace_without_services_has_no_table():
    assert parse_ip_vs_status(EMPTY) == ConnectionTable(0, 0, {})
    assert parse_ip_vs_status(EMPTY).long_percent is None


@pytest.mark.parametrize("text", ["", "Conns:\t5\n", "Conns:\tx\nConn buckets:\t9\n"])
def test_a_text_that_is_not_the_file(text):
    with pytest.raises(ParseError, match="Conn buckets"):
        parse_ip_vs_status(text)
