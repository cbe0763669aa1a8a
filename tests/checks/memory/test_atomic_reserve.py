import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.memory.atomic_reserve import atomic_reserve
from dirtune.collect.ethtool import Card
from dirtune.collect.log_messages import LogLine
from dirtune.collect.net import Interface
from dirtune.collect.sysctls import Sysctls
from dirtune.snapshot import Snapshot

MIB = 1024


FAILED = "swapper/0: page allocation failure: order:0, mode:0x484020(GFP_ATOMIC|__GFP_COMP)"


def reserve(kbytes, *log, mbps=1000, total=8 << 30, **fields):
    card = Interface("eth0", None, None, True, 0, 0, operstate="up", speed_mbps=mbps)
    return run(
        (atomic_reserve,),
        Snapshot(
            sysctls=Sysctls({"vm/min_free_kbytes": str(kbytes)}),
            interfaces=(card,),
            meminfo={"MemTotal": total},
            kernel_log=tuple(LogLine(1.0, text) for text in log),
            **fields,
        ),
    )[0]


def test_little_for_a_fast_link():
    (found,) = reserve(64 * MIB - 1, mbps=10_000).findings

    assert (found.severity, found.subject) == (Severity.MEDIUM, "vm.min_free_kbytes")
    assert found.evidence["min_free_kb"] == 64 * MIB - 1
    assert "keeps only 63 MiB free" in found.message
    # 3 % of 8 GiB, in kB.
    assert found.fixes[0].commands[0] == "sysctl -w 'vm.min_free_kbytes=251658'"


@pytest.mark.parametrize(("gib", "kbytes"), [(1, 52428), (3, 131072), (16, 503316), (64, 524288)])
def test_the_reserve_is_three_per_cent_within_bounds_and_never_a_twentieth(gib, kbytes):
    (found,) = reserve(MIB, mbps=10_000, total=gib << 30).findings

    assert found.fixes[0].commands[0] == f"sysctl -w 'vm.min_free_kbytes={kbytes}'"


@pytest.mark.parametrize("options", [{"kbytes": 64 * MIB, "mbps": 10_000}, {"kbytes": MIB}])
def test_enough_for_the_link(options):
    assert reserve(options.pop("kbytes"), **options).status is Status.PASSED


@pytest.mark.parametrize("text", [FAILED, "IPVS: ip_vs_conn_new(): no memory"])
def test_allocations_that_failed(text):
    (found,) = reserve(512 * MIB, text, text).findings

    assert found.severity is Severity.HIGH
    assert found.evidence["log"] == [text, text]
    assert [fix.id for fix in found.fixes] == ["free-memory"], "it is as much as would be set"
    assert "vm.min_free_kbytes is already large enough" in found.fixes[0].title


def test_an_unknown_size_of_memory_does_not_make_the_reserve_large_enough():
    (found,) = reserve(512 * MIB, FAILED, FAILED, total=0).findings

    assert [fix.id for fix in found.fixes] == ["free-memory"]
    assert "enough" not in found.fixes[0].title


def test_one_old_failure_and_large_allocations_are_left_alone():
    assert reserve(MIB, FAILED.replace("order:0", "order:4")).status is Status.PASSED
    assert reserve(MIB, FAILED, taken_s=604_801.0).status is Status.FINDING
    assert reserve(MIB, FAILED, taken_s=604_802.0).status is Status.PASSED


def counted(name):
    then, now = ({"eth0": Card(statistics={name: n})} for n in (3, 7))
    return reserve(MIB, ethtool=now, taken_s=2.0, earlier=Snapshot(ethtool=then, taken_s=1.0))


# Names from the drivers' sources (drivers/net; Linux 6.12.117).
@pytest.mark.parametrize(
    "name",
    [
        "alloc_rx_buff_failed",  # e1000e
        "rx_alloc_fail",  # i40e
        "rx_buff_alloc_err",  # mlx5_core
        "queue_0_rx_page_alloc_fail",  # ena
        "rx buf alloc fail",  # vmxnet3
        "[0]: rx_skb_alloc_discard",  # bnx2x
        "rx_total_oom_discards",  # bnxt_en
        "rx_no_memory",  # hv_netvsc
        "rxq0: rx_drops_no_skbs",  # be2net
        "rxq0: rx_post_fail",  # be2net
        "rx_noskb_drops",  # sfc
        "Queue[0] SkbAllocFails",  # atlantic
    ],
)
def test_a_card_that_got_no_memory(name):
    (found,) = counted(name).findings

    assert found.evidence["rises"] == {f"eth0 {name}": 4}


@pytest.mark.parametrize(
    "name",
    ["tx_no_memory", "rx_out_of_buffer", "rx_no_buffer_count", "rx_discards", "tx_alloc_fail"],
)
def test_other_counters_are_no_lack_of_memory(name):
    assert counted(name).status is Status.PASSED


def test_what_is_not_known_leaves_it_open():
    assert reserve("x").status is Status.INCONCLUSIVE
    assert reserve(MIB, mbps=None).status is Status.INCONCLUSIVE
    assert run((atomic_reserve,), Snapshot())[0].status is Status.SKIPPED
