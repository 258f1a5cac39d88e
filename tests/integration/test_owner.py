# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""katagpu_vfio_owner: host on a fresh machine: installed without a vfio-manager, bound before the kubelet at every boot, also with
a display driver in the initramfs. And the way from the other owner. `make owner`; the tests build on each other.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration import lab

MACHINE, NODE, GPU = "a10", "kata-a10", "0000:00:08.0"
RULES = "/etc/udev/rules.d/10-katagpu-vfio.rules"
REPORT = lab.STATE / "report" / "report.json"
BACK_SECONDS = 600.0


@pytest.fixture(scope="module", autouse=True)
def fresh_lab() -> Iterator[None]:
    lab.lab("down")
    print(lab.lab("up", "--machines", MACHINE))
    yield
    if not os.environ.get("KATAGPU_KEEP_LAB"):
        lab.lab("down")


def site(*arguments: str, owner: str = "host") -> lab.PlaybookRun:
    run = lab.playbook("site", "-e", f"katagpu_vfio_owner={owner}", *arguments)
    print(f"site.yml: {run.seconds:.0f} s")
    return run


def module(**options: Any) -> dict[str, Any]:
    """The module alone, as a user would run it."""
    play = [
        {
            "hosts": NODE,
            "gather_facts": False,
            "tasks": [
                {"katagpu.cluster.vfio_binding": options, "register": "done"},
                {"ansible.builtin.copy": {"content": "{{ done | to_json }}", "dest": "/run/done.json"}},
            ],
        }
    ]
    file = lab.STATE / "module.yml"
    file.write_text(json.dumps(play), encoding="utf-8")
    run = lab.playbook(str(file))
    assert run.returncode == 0, run.output
    answer: dict[str, Any] = json.loads(lab.guest(MACHINE, "cat /run/done.json"))
    return answer


def boot_id() -> str:
    return lab.guest(MACHINE, "cat /proc/sys/kernel/random/boot_id").strip()


def reboot() -> None:
    before = boot_id()
    with contextlib.suppress(AssertionError):  # The connection may end before the command does.
        lab.guest(MACHINE, "systemctl reboot")
    deadline = time.monotonic() + BACK_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(AssertionError):
            if boot_id() not in ("", before):
                break
        time.sleep(5)
    assert boot_id() != before
    lab.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=300s")


def driver() -> str:
    return lab.guest(MACHINE, f"basename $(readlink /sys/bus/pci/devices/{GPU}/driver)").strip()


def seconds_before_the_kubelet() -> float:
    """The device node of a VFIO group comes with the binding; this is how long before the kubelet's unit was started."""
    text = lab.guest(
        MACHINE,
        "stat -c %.Y /dev/vfio/[0-9]*; systemctl show kubelet -p ExecMainStartTimestampMonotonic --value;"
        " cut -d' ' -f1 /proc/uptime; date +%s.%N",
    )
    *nodes, monotonic, uptime, now = text.split()
    return int(monotonic) / 1e6 - (max(map(float, nodes)) - float(now) + float(uptime))


def checks(name: str) -> list[str]:
    found = json.loads(REPORT.read_text(encoding="utf-8"))["checks"]
    return [item["result"] for item in found if item["id"] == name]


def vfio_managers() -> list[str]:
    found = lab.kubectl_json("get", "daemonsets", "-n", "gpu-operator")["items"]
    return [item["metadata"]["name"] for item in found if "vfio-manager" in item["metadata"]["name"]]


def test_the_first_installation_needs_one_reboot_and_no_vfio_manager() -> None:
    before = boot_id()
    run = site()
    assert run.returncode == 0, run.output
    assert boot_id() != before and run.output.count("Wait for the new boot") <= 2
    assert driver() == "vfio-pci" and vfio_managers() == []
    policy = lab.kubectl_json("get", "clusterpolicy", "cluster-policy")
    assert policy["spec"]["vfioManager"]["enabled"] is False and policy["status"]["state"] == "ready"
    assert lab.kubectl_json("get", "node", NODE)["status"]["allocatable"]["nvidia.com/pgpu"] == "1"
    assert checks("vfio_owner") == ["passed"]
    (workload,) = json.loads(REPORT.read_text(encoding="utf-8"))["workloads"]
    assert workload["result"] == "passed" and "Test PASSED" in workload["log"]


def test_udev_takes_the_rules_for_right_and_no_image_needed_them() -> None:
    lab.guest(MACHINE, f"udevadm verify {RULES}")
    images = "for one in /boot/initrd.img-*; do lsinitramfs $one; done | grep -c katagpu-vfio.rules || true"
    assert lab.guest(MACHINE, images).strip() == "0", "nouveau is kept out by an argument"


def test_a_second_run_changes_nothing() -> None:
    run = site()
    assert run.returncode == 0, run.output
    assert not any(run.changed.values()), run.recap


def test_it_is_bound_before_the_kubelet_at_the_next_boot_and_nothing_is_left_to_do() -> None:
    reboot()
    assert driver() == "vfio-pci"
    early = seconds_before_the_kubelet()
    print(f"bound {early:.1f} s before the kubelet")
    assert early > 0
    run = site()
    assert run.returncode == 0, run.output
    assert not any(run.changed.values()), run.recap


def test_with_the_driver_in_the_initramfs_the_rule_is_there_too_and_comes_first() -> None:
    """Nothing keeps nouveau out, and the image loads it at once."""
    lab.guest(
        MACHINE,
        "sed -i 's/modprobe.blacklist=nouveau//' /etc/default/grub.d/99-katagpu.cfg && update-grub 2>/dev/null"
        " && rm -f /etc/modprobe.d/katagpu.conf && echo nouveau >> /etc/initramfs-tools/modules && update-initramfs -u -k all",
    )
    reboot()
    assert "nouveau" in lab.guest(MACHINE, "cut -d' ' -f1 /proc/modules").split()
    lines = "for one in /boot/initrd.img-*; do lsinitramfs $one; done | grep -c katagpu-vfio.rules || true"
    assert int(lab.guest(MACHINE, lines)) >= 1, "update-initramfs copies all rules"
    kernel = lab.guest(MACHINE, "dmesg | grep -c 'nouveau 0000:00:08.0' || true").strip()
    assert (driver(), kernel) == ("vfio-pci", "0"), "the override was set before nouveau looked at the device"
    assert seconds_before_the_kubelet() > 0


def test_the_module_has_the_images_made_when_its_lines_go() -> None:
    # What the test before has put there.
    lab.guest(MACHINE, "sed -i '/^nouveau$/d' /etc/initramfs-tools/modules")
    given_back = module(addresses=[GPU], state="restored")
    assert given_back["commands"][-1] == ["/usr/sbin/update-initramfs", "-u", "-k", "all"]
    listing = "for one in /boot/initrd.img-*; do lsinitramfs $one; done | grep -c katagpu-vfio.rules || true"
    assert lab.guest(MACHINE, listing).strip() == "0"
    assert lab.guest(MACHINE, f"ls {RULES} 2>/dev/null || true").strip() == ""
    assert module(addresses=[GPU], state="restored")["changed"] is False
    again = module(addresses=[GPU])
    assert again["commands"][-1] == ["/usr/sbin/update-initramfs", "-u", "-k", "all"], "nothing keeps nouveau out now"
    assert int(lab.guest(MACHINE, listing)) >= 1
    assert module(addresses=[GPU])["changed"] is False


def test_another_owner_is_refused_while_the_operator_is_installed() -> None:
    run = site(owner="operator")
    assert run.returncode != 0 and not any(run.changed.values()), run.recap
    text = " ".join(run.output.split())
    assert "katagpu_vfio_owner is operator, and the GPU Operator of this cluster is installed for host" in text


def test_the_way_to_another_owner_that_the_refusal_names() -> None:
    before = boot_id()
    lab.lab("helm", "uninstall", "gpu-operator", "-n", "gpu-operator", "--wait")
    lab.kubectl(
        "wait", "-n", "gpu-operator", "--for=delete", "pod", "-l", "app=nvidia-sandbox-validator", "--timeout=300s"
    )
    run = site(owner="operator")
    assert run.returncode == 0, run.output
    assert vfio_managers() == ["nvidia-vfio-manager"] and driver() == "vfio-pci"
    assert GPU not in lab.guest(MACHINE, f"cat {RULES} 2>/dev/null || true"), "one party binds it"
    print(f"rebooted: {boot_id() != before}")
