"""What a lab is to be, worked out without building one."""

import gzip
import lzma
import os
import struct
import subprocess
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from msgspec import structs

from dirtune import plan
from dirtune.analyse.run import Role
from dirtune.errors import LabError
from dirtune.host import LiveHost
from dirtune.lab import boot, cgroups, guest, keeper, kernel, lifecycle, qmp, spec, state
from dirtune.lab.plan_text import plan_text
from dirtune.lab.spec import Spec

PACKED = guest.Kernel(Path("/boot/vmlinuz-1"), None)


@pytest.fixture
def crowded():
    return Spec(scenario=state.scenario("crowded"))


def test_every_scenario_reads_and_is_named_after_its_file():
    files = {path.stem for path in Path(lifecycle.__file__).parent.glob("scenarios/*.toml")}

    assert {"crowded", "misconfigured", "noapic", "separate", "shared"} <= files
    assert {"multiqueue", "single-cpu-irq"} <= files
    assert set(state.scenario_names()) == files
    for name in state.scenario_names():
        assert state.scenario(name).name == name


def test_the_crowded_experiment_is_fixed_in_its_file(crowded):
    experiment = crowded.scenario.experiment

    assert (experiment.rate, experiment.pairs, experiment.at_most) == (200, 7, 14)
    assert experiment.primary == "cpu_us_per_connection"
    assert [device.driver for device in crowded.scenario.devices] == ["lsi53c895a"] * 4


def test_the_second_look_and_the_peak_go_into_the_plan(crowded):
    written = plan.parse(plan_text(crowded, (0,)))
    none = Spec(scenario=structs.replace(crowded.scenario, experiment=None))

    assert (written.load.pairs, written.load.at_most) == (7, 14)
    assert written.compare.peak_trials == 1
    assert plan.parse(plan_text(none, (0,))).load.at_most is None


def test_with_an_exact_clock_a_pair_may_have_different_shares_of_the_cpus(crowded):
    def limits(clock):
        validity = plan.parse(plan_text(structs.replace(crowded, clock=clock), (0,))).validity
        return validity.pair_steal, validity.pair_busy, validity.far, validity.clock

    assert limits("host") == (10, 20, 10, 5)
    assert limits("exact") == (None, None, None, 50)


def test_addresses_are_of_the_benchmarking_block(crowded):
    for node in crowded.nodes():
        assert node.load_address.startswith("198.18.")
        assert node.control_address.startswith("198.19.")
    assert len({node.load_address for node in crowded.nodes()}) == 9


def test_every_node_but_the_director_is_plugged_into_both_switches(crowded):
    commands = spec.network_commands(crowded)

    for node in ("rs1", "rs4", "c1", "c4"):
        assert f"link set {node}-load master br-load up" in commands
        assert f"link set {node}-ctl master br-ctl up" in commands
    assert not [line for line in commands if "lb1" in line]
    assert not [line for line in commands if "default" in line], "nothing is routed outside"


def test_forwarding_is_ipvsadms_flag(crowded):
    assert "-a -t 198.18.0.100:80 -r 198.18.0.13:80 -g -w 1" in spec.ipvs_commands(crowded)
    nat = Spec(scenario=crowded.scenario, forwarding="nat", real_servers=1)
    assert spec.ipvs_commands(nat)[-1] == "-a -t 198.18.0.100:80 -r 198.18.0.11:80 -m -w 1"


def test_nat_has_the_director_between_clients_and_real_servers(crowded):
    nat = Spec(scenario=crowded.scenario, forwarding="nat", real_servers=1, clients=1)
    servers, clients = IPv4Network("198.18.0.0/17"), IPv4Network("198.18.128.0/17")
    director, server, client = (IPv4Address(node.load_address) for node in nat.nodes())
    commands = spec.network_commands(nat)

    assert director in servers
    assert server in servers
    assert client in clients
    assert f"-n rs1 addr add {server}/17 dev load" in commands
    assert f"-n rs1 route add default via {director}" in commands
    assert f"-n c1 route add {servers} via 198.18.128.1" in commands
    assert "ip addr add 198.18.128.1/17 dev $load" in boot.director_boot(nat)
    assert "arp_ignore" not in boot.node_boot(nat.nodes()[1], nat, "/x")


def test_a_real_server_behind_a_tunnel_is_a_guest_on_taps(crowded, tmp_path):
    tun = Spec(scenario=crowded.scenario, forwarding="tun", real_servers=1, clients=1)
    server = tun.nodes()[1]
    commands = spec.network_commands(tun)
    argv = guest.server_argv(server, PACKED, tmp_path, tmp_path / "s")
    text = " ".join(argv)

    assert [tun.is_guest(node) for node in tun.nodes()] == [True, True, False]
    assert "netns add rs1" not in commands
    assert "link set tap-rs1-load master br-load up" in commands
    assert "tap,id=load,ifname=tap-rs1-load" in text
    assert "virtio-net-pci,mac=52:54:00:12:00:0b,netdev=load" in text
    assert f"ip addr add {spec.VIP}/32 dev tunl0" in boot.guest_server_boot(server, tun, "/x")
    assert not any(Spec(scenario=crowded.scenario).is_guest(node) for node in crowded.nodes()[1:])


@pytest.mark.parametrize("forwarding", ["dr", "nat"])
def test_the_scripts_of_the_nodes_are_shell(crowded, forwarding):
    asked = Spec(scenario=crowded.scenario, forwarding=forwarding)
    texts = [boot.director_boot(asked)]
    texts += [boot.node_boot(node, asked, "/x") for node in asked.nodes()[1:]]
    texts.append(boot.guest_server_boot(asked.nodes()[1], asked, "/x"))
    for text in texts:
        subprocess.run(["sh", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize(
    ("cpus", "vcpus", "director", "load"),
    [
        ({0, 1}, 1, (0,), (1,)),
        ({0, 1}, 2, (0,), (1,)),
        ({0, 1, 2, 3}, 2, (0, 1), (2, 3)),
        ({3}, 1, (3,), (3,)),
    ],
)
def test_the_load_has_a_cpu_to_itself_where_there_are_two(cpus, vcpus, director, load):
    assert spec.cpu_layout(cpus, vcpus) == (director, load)


def test_the_newest_kernel_that_has_the_modules_is_taken(tmp_path):
    folder = tmp_path / "lib/modules/6.1.0-56-amd64"
    folder.mkdir(parents=True)
    (folder / "modules.dep").write_text("a/ip_vs.ko:\nb/e1000.ko:\nc/sym53c8xx.ko:\n")
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-6.1.0-56-amd64").touch()

    image = guest.kernel_image("standard", LiveHost(tmp_path))

    assert str(image) == "/boot/vmlinuz-6.1.0-56-amd64"


def test_a_missing_kernel_names_the_package(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=debian\n")
    with pytest.raises(LabError, match="apt install linux-image-rt-amd64"):
        guest.kernel_image("rt", LiveHost(tmp_path))


def test_the_command_line_is_what_the_grub_files_say_now(tmp_path):
    drop_ins = tmp_path / "default/grub.d"
    drop_ins.mkdir(parents=True)
    (tmp_path / "default/grub").write_text('GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')
    (drop_ins / "10-lab.cfg").write_text('GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX noapic a=1"\n')
    assert guest.command_line(tmp_path) == "noapic a=1 quiet"

    (drop_ins / "90-mine.cfg").write_text('GRUB_CMDLINE_LINUX="a=1"\n')

    assert guest.command_line(tmp_path) == "a=1 quiet"


def test_the_last_words_of_a_guest_that_printed_for_ever_take_little_memory(tmp_path):
    console = tmp_path / "console.log"
    console.write_text("boot 1: Kernel panic\nboot 2\n")
    spoken = len("boot 1: Kernel panic\n")
    assert keeper.last_words(console, spoken) == "boot 2\n"

    with console.open("r+b") as file:
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"Kernel panic - not syncing\n")
    words = keeper.last_words(console, spoken)
    assert len(words) == 1 << 20
    assert not guest.rebooted("guest-reset", words)


@pytest.mark.parametrize("script_of", [boot.node_boot, boot.guest_server_boot])
def test_a_node_writes_its_shadow_file_through_no_link(script_of, crowded, tmp_path):
    ours, link = tmp_path / "ours", tmp_path / "shadow"
    ours.write_text("this machine's\n")
    link.symlink_to(ours)
    node = crowded.with_role(Role.REAL_SERVER)[0]
    script = script_of(node, crowded, str(tmp_path)).replace("/etc/shadow", str(link))
    begin = script.index("rm -f") if "rm -f" in script else script.index("printf '%s:*:1")
    end = script.index("\n", script.index(f"> {link}"))

    subprocess.run(["sh", "-ec", script[begin:end]], check=True)

    assert ours.read_text() == "this machine's\n"
    assert link.read_text().splitlines()[0] == "root:*:1::::::"


@pytest.mark.parametrize("linked", ["etc", "etc/default", "etc/default/grub.d"])
def test_grub_files_of_this_machine_are_not_read_through_a_link_of_a_guest(linked, tmp_path):
    ours = tmp_path / "ours"
    for name in ("etc", "etc/default", "etc/default/grub.d"):
        if linked != name:
            (tmp_path / "share" / name).mkdir(parents=True)
            continue
        (ours / "etc/default/grub.d".removeprefix(name)[1:]).mkdir(parents=True, exist_ok=True)
        cfg = ours / "etc/default/grub.d/10.cfg".removeprefix(name)[1:]
        cfg.write_text('GRUB_CMDLINE_LINUX="secret"\n')
        (tmp_path / "share" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "share" / name).symlink_to(ours)
        break

    assert guest.command_line(tmp_path / "share/etc") == ""


def test_a_broken_grub_file_is_one_line(tmp_path):
    (tmp_path / "default/grub.d").mkdir(parents=True)
    (tmp_path / "default/grub.d/10.cfg").write_text('GRUB_CMDLINE_LINUX="\n')

    with pytest.raises(
        LabError, match=r"^Cannot read the director's grub files: .*nterminated.*$"
    ):
        guest.command_line(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="the keeper of a lab is root")
def test_what_a_guest_writes_into_its_grub_files_has_no_rights_here(tmp_path):
    mark, secret = tmp_path / "OWNED", tmp_path / "secret"
    secret.write_text("GRUB_CMDLINE_LINUX=secret\n")
    secret.chmod(0o600)
    folder = tmp_path / "etc/default/grub.d"
    folder.mkdir(parents=True)
    (folder / "1.cfg").write_text(f"touch {mark}; chmod 777 {tmp_path}; echo x; id -u >&2\n")
    (folder / "2.cfg").symlink_to(secret)
    (folder / "3.cfg").write_text(f'GRUB_CMDLINE_LINUX="uid=$(id -u) $(cat {secret})"\n')
    os.mkfifo(folder / "4.cfg")

    assert guest.command_line(tmp_path / "etc") == "uid=65534"
    assert not mark.exists()


def test_a_grub_file_that_never_ends_printing_is_one_line(tmp_path):
    (tmp_path / "default/grub.d").mkdir(parents=True)
    (tmp_path / "default/grub.d/10.cfg").write_text("yes >&2\n")

    with pytest.raises(LabError, match=r"^Cannot read the director's grub files: y$"):
        guest.command_line(tmp_path)


def test_qemu_is_asked_for_the_scenarios_line(crowded, tmp_path):
    argv = guest.argv(crowded, PACKED, "noapic", tmp_path, tmp_path / "s")
    text = " ".join(argv)

    assert "--disable-kvm" in argv
    assert "-a noapic" in text
    assert "e1000,bus=pcie.0,addr=0x10" in text
    assert "mitigation=off" in text
    assert "lsi53c895a,bus=pcie.0,addr=0x15.0,multifunction=on" in text


def test_an_exact_clock_counts_instructions_and_keeps_to_real_time(crowded, tmp_path):
    exact = structs.replace(crowded, clock="exact")
    ready = guest.Kernel(PACKED.image, tmp_path / "vmlinux-1")
    argvs = [guest.argv(asked, ready, "", tmp_path, tmp_path / "s") for asked in (crowded, exact)]
    on_host, counted = (" ".join(argv) for argv in argvs)

    assert "-icount" not in on_host
    # 2^4 ns an instruction, as QEMU has it, are 62.5 million a second.
    assert "-icount shift=4,sleep=on,align=on" in counted
    assert "62.5 million" in spec.text_of_clock(exact)
    # QEMU boots the last that is named; the first one names the folder of modules.
    assert "--kimg /boot/vmlinuz-1" in counted
    assert f"-kernel {tmp_path}/vmlinux-1" in counted.partition("--qemu-opts")[2]
    # What this machine's hypervisor takes is in no account of such a director.
    assert plan.parse(plan_text(exact, (0,))).director.host_cpus == ()


def test_a_nic_with_several_queues_has_them_on_its_tap_and_a_vector_for_each(tmp_path):
    asked = spec.spec_of(state.scenario("multiqueue"))
    text = " ".join(guest.argv(asked, PACKED, "", tmp_path, tmp_path / "s"))

    # QEMU's documentation: two vectors for each pair of queues, one for control, one for config.
    load = "virtio-net-pci,bus=pcie.0,addr=0x10,mac=52:54:00:12:00:01,mq=on,vectors=18"
    assert f"-device {load},rss=on,hash=on,netdev=load " in text
    assert "tap,id=load,ifname=tap-load,script=no,downscript=no,queues=8 " in text
    assert "tap,id=ctl,ifname=tap-ctl,script=no,downscript=no " in text
    assert "tuntap add tap-load mode tap multi_queue" in spec.network_commands(asked)
    assert "tuntap add tap-ctl mode tap" in spec.network_commands(asked)
    assert "-device vmxnet3,bus=pcie.0,addr=0x18,netdev=load0" in text
    assert "-device e1000e,bus=pcie.0,addr=0x19,netdev=load1" in text
    assert "--cpus 4" in text
    pair = spec.network_commands(structs.replace(asked, backup=True))
    assert "tuntap add tap-lb2-load mode tap multi_queue" in pair
    assert "tuntap add tap-lb2-ctl mode tap" in pair


def test_a_nic_with_one_queue_is_as_before(crowded, tmp_path):
    text = " ".join(guest.argv(crowded, PACKED, "", tmp_path, tmp_path / "s"))

    assert "e1000,bus=pcie.0,addr=0x10,mac=52:54:00:12:00:01,mitigation=off,netdev=load" in text
    assert "queues=" not in text
    assert "vectors=" not in text
    assert "tuntap add tap-load mode tap" in spec.network_commands(crowded)


@pytest.mark.parametrize(
    ("name", "given", "cpus", "clock"),
    [
        ("crowded", {}, 1, "exact"),
        ("crowded", {"cpus": 2}, 2, "host"),
        ("crowded", {"clock": "host"}, 1, "host"),
        ("single-cpu-irq", {}, 4, "host"),
        ("single-cpu-irq", {"cpus": 1}, 1, "exact"),
        ("multiqueue", {"cpus": 2, "clock": "exact"}, 2, "exact"),
    ],
)
def test_a_scenario_has_defaults_that_options_replace(name, given, cpus, clock):
    asked = spec.spec_of(state.scenario(name), **given)

    assert (asked.cpus, asked.clock) == (cpus, clock)


def test_the_faults_of_a_scenario_are_set_before_the_director_answers():
    for name in ("multiqueue", "single-cpu-irq"):
        asked = spec.spec_of(state.scenario(name))
        script = boot.director_boot(asked)

        assert asked.scenario.faults
        for fault in asked.scenario.faults:
            assert script.index("ip link set $load up") < script.index(fault)
            assert script.index(fault) < script.index("exec /usr/sbin/sshd")
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_two_cpus_have_no_exact_clock_and_say_why(crowded):
    two = structs.replace(crowded, cpus=2)

    assert "no exact clock" in spec.text_of_clock(two)
    with pytest.raises(LabError, match=r"needs --cpus 1: .* turns.* Use --clock host"):
        lifecycle.up(structs.replace(two, clock="exact"), lambda _: None)


def bzimage(packed, *, sectors=2):
    """A bzImage as Documentation/arch/x86/boot.rst lays it out, with its payload."""
    setup = bytearray((1 + sectors) * 512)
    setup[0x1F1] = sectors
    setup[0x202:0x206] = b"HdrS"
    setup[0x248:0x250] = struct.pack("<II", 100, len(packed))
    return bytes(setup) + bytes(100) + packed + bytes(50)


# elf(5): the sizes of name and descriptor, the type, and the name with its terminating zero.
NOTE = struct.pack("<III4s", 4, 8, 18, b"Xen\0") + struct.pack("<Q", 0x1000000)
PVH = b"\x7fELF" + bytes(60) + NOTE


@pytest.mark.parametrize("pack", [lzma.compress, gzip.compress])
def test_a_kernel_is_unpacked_before_the_guest_boots(pack):
    # The size of the kernel follows the packed data, within the payload.
    assert kernel.unpacked(bzimage(pack(PVH) + struct.pack("<I", len(PVH)))) == PVH


@pytest.mark.parametrize(
    "image",
    [
        bzimage(lzma.compress(b"\x7fELF" + bytes(99))),  # no entry that QEMU could use
        bzimage(lzma.compress(NOTE)),
        bzimage(b"\x28\xb5\x2f\xfd" + bytes(99)),  # zstd
        bzimage(lzma.compress(PVH)[:-40]),
        bzimage(b"\xfd7zXZ garbage"),
        b"MZ",
        b"",
    ],
)
def test_a_kernel_that_qemu_cannot_boot_unpacked_is_left_packed(image, tmp_path):
    assert kernel.unpacked(image) is None
    path = tmp_path / "vmlinuz-1"
    path.write_bytes(image)
    assert guest.prepared(path, tmp_path) == guest.Kernel(path, None)


def test_an_installed_kernel_is_unpacked_once(tmp_path):
    installed = sorted(Path("/boot").glob("vmlinuz-*-amd64"))
    if not installed:
        pytest.skip("no kernel is installed here")
    first = guest.prepared(installed[0], tmp_path)
    text = first.unpacked.read_bytes()
    release = installed[0].name.removeprefix("vmlinuz-").encode()

    assert text.startswith(b"\x7fELF")
    assert b"Linux version " + release in text
    first.unpacked.write_bytes(b"there")
    assert guest.prepared(installed[0], tmp_path) == first
    assert first.unpacked.read_bytes() == b"there"


def test_vcpu_threads_are_found_by_name(tmp_path):
    (tmp_path / "9/task/8").mkdir(parents=True)
    (tmp_path / "9/task/8/comm").write_text("ALL CPUs/TCG\n")
    assert guest.vcpu_threads(9, tmp_path) == (8,)
    for tid, name in (("11", "qemu-system-x86"), ("13", "CPU 1/TCG"), ("12", "CPU 0/TCG")):
        (tmp_path / "10/task" / tid).mkdir(parents=True)
        (tmp_path / "10/task" / tid / "comm").write_text(name + "\n")

    assert guest.vcpu_threads(10, tmp_path) == (12, 13)


def test_a_version_2_hierarchy_confines_a_node(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu\n")
    (tmp_path / "cpuset.mems.effective").write_text("0\n")
    found = cgroups.find(Path("/var/lib/dirtune-lab"), tmp_path)

    cgroups.create(found, "rs1", frozenset({1, 3}))

    (leaf,) = tmp_path.glob("dirtune-lab-*/rs1")
    assert (leaf / "cpuset.cpus").read_text() == "1,3"
    assert (leaf / "cpuset.mems").read_text() == "0\n"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpuset +cpu"
    assert cgroups.members_files(found, "rs1") == (leaf / "cgroup.procs",)


def test_a_machine_without_control_groups_is_told(tmp_path):
    with pytest.raises(LabError, match="mount -t cgroup2"):
        cgroups.find(Path("/var/lib/dirtune-lab"), tmp_path)


def test_two_labs_have_groups_of_their_own(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu\n")
    (tmp_path / "cpuset.mems.effective").write_text("0\n")
    one, other = (cgroups.find(Path(lab), tmp_path) for lab in ("/tmp/one", "/tmp/other"))
    for found in (one, other):
        cgroups.create(found, "rs1", frozenset({1}))

    assert {*one.groups}.isdisjoint(other.groups)
    assert cgroups.exists(one)
    assert cgroups.exists(other)


def test_the_labs_plan_is_a_plan_with_the_scenarios_numbers(crowded):
    read = plan.parse(plan_text(crowded, (0,)))

    assert read.load.rates == (200,)
    assert (read.load.warmup_s, read.load.window_s, read.load.pairs) == (2, 6, 7)
    assert (read.settle.idle, read.settle.seconds, read.settle.max_s) == (80, 5, 60)
    assert read.hosts == ("lb1", "rs1", "rs2", "rs3", "rs4", "c1", "c2", "c3", "c4")
    assert read.director.host_cpus == (0,)
    assert read.url == "http://198.18.0.100:80/"


@pytest.mark.parametrize(
    ("reason", "console", "expected"),
    [
        ("guest-reset", "Accepted publickey for root from 198.19.255.254 port 5", True),
        ("guest-reset", "Kernel panic - not syncing: Attempted to kill init!\n", False),
        ("guest-shutdown", "reboot: Power down\n", False),
        ("host-signal", "", False),
        (None, "reboot: Restarting system\n", False),
    ],
)
def test_a_reboot_is_told_from_an_end(reason, console, expected):
    assert guest.rebooted(reason, console) is expected


def test_the_reason_is_that_of_the_monitors_last_shutdown():
    # What QEMU 7.2 says: its greeting, the answer to qmp_capabilities, events.
    said = (
        '{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}}}}\n{"return": {}}\n'
        '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESET", "data": {}}\n'
        '{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}\n{"event": "SHU'
    )

    assert qmp.reason_in(said) == "guest-reset"
    assert qmp.reason_in('{"return": {}}\n') is None
