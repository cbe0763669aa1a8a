import pytest

from dirtune.change.actions.put_file import PutFile
from dirtune.change.actions.run import Run
from dirtune.change.actions.set_value import SetValue
from dirtune.change.actions.unbind import Unbind
from dirtune.change.plan import Change, Plan, joined, needed
from dirtune.checks import Risk


def change(action, risk=Risk.SAFE):
    return Change(action, risk, "irq/shared-with-nic", "f", "t")


@pytest.mark.parametrize(
    "action",
    [
        SetValue("/proc/sys/x", "0", "0"),
        PutFile("/etc/x", "a\n", "a\n"),
    ],
)
def test_what_is_already_so_is_not_planned(action):
    assert needed((change(action),)) == ()


def test_a_command_goes_with_the_file_it_follows():
    again = change(Run(argv=("update-grub",)))
    same = change(PutFile("/etc/x", "a\n", "a\n"))
    other = change(PutFile("/etc/y", None, ""))

    assert needed((same, again)) == ()
    assert needed((same, other, again)) == (other, again)


def test_zero_is_a_value_and_an_empty_file_is_a_file():
    changes = (change(SetValue("/x", "1", "0")), change(PutFile("/y", None, "")))

    assert needed(changes) == changes


def test_the_gravest_risk_is_the_plans():
    one = Plan((change(Unbind("0000:00:14.0", "ahci"), Risk.DISRUPTIVE),))
    two = Plan((change(Run(argv=("x",)), Risk.SAFE),))

    assert joined((one, two)).risk is Risk.DISRUPTIVE
    assert Plan().risk is None


def test_the_shell_commands_are_exact():
    assert Unbind("0000:00:14.0", "sym53c8xx").commands == (
        "echo 0000:00:14.0 > /sys/bus/pci/drivers/sym53c8xx/unbind",
    )
    assert PutFile("/etc/grub.d/42_x", None, "#!/bin/sh\necho hi\n", 0o755).commands == (
        "printf '%s\\n' \\\n'#!/bin/sh' \\\n'echo hi' > /etc/grub.d/42_x",
        "chmod 755 /etc/grub.d/42_x",
    )
    assert Run(undo_argv=("update-grub",)).commands == ()
