from dirtune.checks import Severity, Status
from dirtune.checks.keepalived.slow_detection import slow_detection
from tests.checks.keepalived.directors import findings, outcome, real, server


def test_a_host_without_keepalived_has_nothing_to_judge():
    assert outcome(slow_detection, None).status is Status.NOT_APPLICABLE


def test_the_defaults_are_slow():
    # keepalived.conf(5): delay_loop 60, connect_timeout 5, retry 1, delay_before_retry 1.
    first, second = (server(real("10.0.1.1"), head) for head in ("10.0.0.1 80", "10.0.0.2 80"))

    (finding,) = findings(slow_detection, first + second)

    assert (finding.severity, finding.evidence) == (Severity.LOW, {"seconds": 71})
    assert finding.also == ("virtual_server 10.0.0.2 80",)


def test_short_intervals_and_checks_without_times():
    quick = server("delay_loop 6\n" + real("10.0.1.1", "TCP_CHECK {\nconnect_timeout 3\n}\n"))
    none = server(real("10.0.1.1", ""))
    bfd = server(real("10.0.1.1", "BFD_CHECK {\nname a\n}\n"))

    assert [findings(slow_detection, text) for text in (quick, none, bfd)] == [(), (), ()]


def test_the_fastest_check_of_a_real_server_counts():
    both = "TCP_CHECK {\n}\nHTTP_GET {\ndelay_loop 2\n}\n"

    assert findings(slow_detection, server(real("10.0.1.1", both))) == ()


def test_one_failed_check_removes_a_real_server():
    text = server("delay_loop 6\n" + real("10.0.1.1", "TCP_CHECK {\nretry 0\n}\n"))

    (finding,) = findings(slow_detection, text)

    assert finding.message.startswith("A single failed check")
