"""Which node is held to be the limit, by figures of the 2001 paper and by hand."""

import msgspec
import pytest
from facts import node, trial

from dirtune.analyse.limiting_node import Known, limiting
from dirtune.analyse.run import Trial


def nodes(director, servers, client=50.0, **changes):
    return (
        node("lb1", "director", idle=director, **changes),
        *(node(f"rs{n}", "real server", idle=rest) for n, rest in enumerate(servers, 1)),
        node("c1", "client", idle=client),
    )


def limit(found, known=None, **changes):
    return limiting(trial(7000, 6466.2, nodes=found, **changes), known or Known())


def test_a_full_cpu_with_time_left_on_the_real_servers_is_the_directors():
    # 76 % idle on average: one of four CPUs is full.
    found = limit(nodes(76, (40, 55), per_cpu=(3, 99, 100, 100)))

    assert found.node == "director core"
    assert "the director's cpu0 is 97 % busy" in found.words
    assert "the real servers are 40 to 55 % idle" in found.words


def test_an_average_over_cpus_decides_nothing():
    found = limit(nodes(2, (60, 60)))

    assert found.node == "unclear"
    assert "the load of each CPU is unknown" in found.words


def test_figure_16_with_4_real_servers_is_unclear():
    # One CPU, 46 % idle; the real servers are full at 1617/s, and one alone made 3898.
    found = limit(nodes(45.83, (1.74, 1.47, 0.97, 3.58), cpus=1), Known(alone=3897.9))

    assert found.node == "unclear"
    assert (
        "each real server is full at 1617 replies/s, but one real server alone reached 3898"
        in found.words
    )


def test_figure_16_with_2_real_servers_is_theirs():
    found = limit(nodes(49.08, (1.82, 2.10), cpus=1), Known(alone=3897.9))

    assert found.node == "real servers"


def test_one_full_real_server_of_two_is_not_all_of_them():
    assert limit(nodes(60, (2, 30), cpus=1)).node == "unclear"


def test_real_servers_that_drop_are_full_at_any_idle_time():
    found = limit(nodes(60, (40,), cpus=1), signals={"rs1": {"listen_drops": 9.0}})

    assert found.node == "real servers"
    assert "listen queues dropped 9 connections" in found.words


def test_packets_the_director_drops_are_its_own():
    found = limit(nodes(60, (40,), cpus=1), counters={"softnet_dropped": 12})

    assert found.node == "director core"
    assert "12 packets (softnet_dropped)" in found.words


def test_a_busy_client():
    assert limit(nodes(60, (40,), client=5, cpus=1)).node == "clients"


def test_one_full_cpu_of_a_client_that_is_half_idle():
    seen = {"c1": {"busy_percent": 50.0, "busiest_cpu_percent": 97.0}}
    found = limit(nodes(60, (40,), cpus=1), signals=seen)

    assert found.node == "clients"
    assert "the busiest client (c1) is 97 % busy" in found.words
    polls = limit(nodes(60, (40,), cpus=1), signals=seen, polls=True)
    assert polls.node == "unclear", "a generator that polls takes all of a CPU at any rate"


@pytest.mark.parametrize(
    ("generator", "node"), [("h2load", "clients"), ("httperf", "unclear"), ("spray", "unclear")]
)
def test_an_old_trial_polls_as_its_generator_does(generator, node):
    document = msgspec.to_builtins(trial(7000, 6466.2, nodes=nodes(60, (40,), cpus=1)))
    document |= {"generator": generator, "signals": {"c1": {"busiest_cpu_percent": 99.0}}}
    del document["polls"]  # dirtune did not keep it before 30 November 2026

    assert limiting(msgspec.convert(document, Trial)).node == node


def test_a_full_link():
    known = Known(link_bits_per_s=100e6, used_bits_per_s=96e6)

    assert limit(nodes(60, (40,), cpus=1), known).node == "network"
    assert limit(nodes(60, (40,), cpus=1), known._replace(used_bits_per_s=50e6)).node == "unclear"


def test_two_full_at_once_are_unclear():
    found = limit(nodes(3, (2,), cpus=1))

    assert found.node == "unclear"
    assert "director core and real servers are full at the same time" in found.words


def test_a_full_director_beside_short_real_servers_is_unclear():
    found = limit(nodes(3, (12,), cpus=1))

    assert found.node == "unclear"
    assert "the real servers are less than 20 % idle" in found.words


def test_stolen_time_is_neither_idle_nor_busy():
    assert limit(nodes(1, (60,), cpus=1, steal=30.0)).node == "unclear"


@pytest.mark.parametrize(
    ("changes", "node"),
    [
        ({"validity": "client_limited", "reason": "2 % were not begun"}, "clients"),
        ({"validity": "noisy", "reason": "steal"}, "unclear"),
        ({"reply_rate": 6999.0, "replied": 69_990}, "nothing"),
        # 0.01 % of 70,000 are 7, and three times their root 8 more.
        ({"reply_rate": 6999.0, "replied": 69_986}, "nothing"),
        ({"reply_rate": 6999.0, "replied": 69_984}, "unclear"),
        ({"reply_rate": 6999.0, "attempted": 500, "replied": 499}, "nothing"),
        ({"reply_rate": 6999.0, "attempted": 500, "replied": 498}, "unclear"),
        # In the window 99.1 % of what was offered came back; 0.9 % are lost for good.
        ({"reply_rate": 6937.0, "replied": 69_370}, "unclear"),
    ],
)
def test_what_needs_no_nodes(changes, node):
    assert limiting(trial(7000, 6466.2, **changes)).node == node


def test_without_nodes_it_is_unclear():
    found = limiting(trial(7000, 6466.2))

    assert found.node == "unclear"
    assert "the director was not sampled" in found.words
