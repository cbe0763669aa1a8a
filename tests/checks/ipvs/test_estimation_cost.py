import pytest

from dirtune.checks import Severity, Status, run
from dirtune.checks.ipvs.estimation_cost import estimation_cost
from dirtune.collect.cpus import Cpus
from dirtune.collect.proc_irq import IrqState
from tests.checks import machines
from tests.checks.earlier import with_earlier
from tests.checks.machines import director, program, service


def many(count):
    """One service and destinations, *count* estimators in all."""
    return service(*[1] * (count - 1))


def cpus(possible):
    return Cpus(tuple(range(4)), tuple(range(possible)))


def outcome(count, *, sysctls=None, **fields):
    settings = {"run_estimation": 1} if sysctls is None else sysctls
    return run((estimation_cost,), director(many(count), sysctls=settings, **fields))[0]


@pytest.mark.parametrize(("count", "possible"), [(2000, 1), (1000, 100)])
def test_one_timer_for_many_estimators(count, possible):
    (found,) = outcome(count, cpus=cpus(possible)).findings

    assert found.severity is Severity.HIGH
    assert found.evidence == {
        "estimators": count,
        "possible_cpus": possible,
        "threads": False,
    }
    assert [fix.id for fix in found.fixes] == ["stop-estimation", "newer-kernel"]
    assert found.fixes[0].commands[0] == "sysctl -w 'net.ipv4.vs.run_estimation=0'"


def test_a_kernel_without_run_estimation_cannot_stop_it():
    (found,) = outcome(2000, sysctls={"conntrack": 0}).findings

    assert [fix.id for fix in found.fixes] == ["newer-kernel"]


@pytest.mark.parametrize(("count", "possible"), [(1999, 50), (1000, 99)])
def test_few_estimators_are_quiet(count, possible):
    assert outcome(count, cpus=cpus(possible)).status is Status.PASSED


def test_estimation_that_is_off_is_quiet():
    assert outcome(5000, sysctls={"run_estimation": 0}).status is Status.PASSED


def test_settings_of_ipvs_that_could_not_be_read_leave_it_open():
    settings = {"net/core/somaxconn": 4096}

    assert outcome(5000, sysctls=settings).status is Status.INCONCLUSIVE


THREADED = {"run_estimation": 1, "est_cpulist": "", "est_nice": 0}


def threads(ticks, *, cpu=0, card=None):
    """An estimation thread that took *ticks* in 10 s on *cpu*; a card is served by CPU *card*."""
    fields = {"processes": (program("ipvs-e:0:0", kernel=True, ticks=100 + ticks, cpu=cpu),)}
    before = {"processes": (program("ipvs-e:0:0", kernel=True, ticks=100),)}
    if card is not None:
        host = machines.host("PCI-MSIX-0000:00:10.0   0-edge      enp0s16", interfaces=())
        fields |= {"interrupts": host.interrupts, "pci": host.pci, "interfaces": ()}
        fields |= {"proc_irq": {"10": IrqState(None, (card,), None, managed=False)}}
    return outcome(5, sysctls=THREADED, cpus=cpus(4), earlier=before, **fields)


def test_a_thread_that_takes_a_tenth_of_a_cpu():
    (found,) = threads(100).findings

    assert (found.subject, found.severity) == ("ipvs-e:0:0", Severity.LOW)
    assert found.evidence["cpu_percent"] == 10
    assert [fix.id for fix in found.fixes] == ["stop-estimation"]


def test_a_thread_on_the_cpu_of_a_card():
    (found,) = threads(10, cpu=2, card=2).findings

    assert (found.evidence["cpu_percent"], found.evidence["nic_cpus"]) == (1, [2])
    assert found.fixes[0].commands[:2] == (
        "sysctl -w 'net.ipv4.vs.est_cpulist=0,1,3'",
        "sysctl -w 'net.ipv4.vs.est_nice=10'",
    )


@pytest.mark.parametrize(("ticks", "cpu", "card"), [(99, 0, None), (99, 0, 2), (9, 2, 2)])
def test_a_thread_that_takes_little_is_quiet(ticks, cpu, card):
    assert threads(ticks, cpu=cpu, card=card).status is Status.PASSED


def test_a_user_program_of_that_name_is_no_thread():
    fake = program("ipvs-e:0:0", ticks=5000)
    taken = director(many(5), sysctls=THREADED, processes=(fake,))

    both = with_earlier(taken, 990.0, processes=(program("ipvs-e:0:0"),))
    assert run((estimation_cost,), both)[0].status is Status.PASSED


def test_threads_take_two_samples_and_processes():
    thread = program("ipvs-e:0:0", kernel=True, ticks=5)

    assert outcome(5, sysctls=THREADED, processes=(thread,)).status is Status.INCONCLUSIVE
    assert outcome(5, sysctls=THREADED).status is Status.INCONCLUSIVE
