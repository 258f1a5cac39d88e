# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers for confidential virtual machines: an EPYC with SEV-SNP and a Xeon with TDX, at stages of being set up.

What each file says is as the kernel writes it: arch/x86/kvm/svm/sev.c and vmx/tdx.c for the parameters, kernel/cgroup/misc.c for the keys,
kernel/power/hibernate.c for /sys/power/disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases
from tests.unit.assess_host import KERNEL, judge, machine

RELEASE = _releases.lookup("26.7")
OLDER = _releases.lookup("26.3")
H100 = {
    "address": "0000:65:00.0",
    "class": "030200",
    "vendor": "10de",
    "device": "2331",
    "driver": "vfio-pci",
    "group": "12",
}
A10 = {**H100, "device": "2236"}
NVSWITCH = {"address": "0000:66:00.0", "class": "068000", "vendor": "10de", "device": "22a3", "group": "13"}
NEW = "6.17.0-5-generic"
SNP, TDX = {"confidential": "snp"}, {"confidential": "tdx"}
# EPYC 9354: family 25 is Zen 3 and 4, model 17 is Genoa. Rome is family 23.
GENOA = "cpu family : 25\nmodel : 17\nmodel name : AMD EPYC 9354 32-Core Processor"
ROME = "cpu family : 23\nmodel : 49\nmodel name : AMD EPYC 7452 32-Core Processor"
SAPPHIRE = "cpu family : 6\nmodel : 143\nmodel name : Intel(R) Xeon(R) Platinum 8480+"
EMERALD = "cpu family : 6\nmodel : 207\nmodel name : INTEL(R) XEON(R) PLATINUM 8580"
HIBERNATES, DOES_NOT = "[platform] shutdown reboot suspend test_resume\n", "[disabled]\n"
LOADED = ("vfio_pci", "vfio_iommu_type1", "vhost_vsock", "vhost_net", "iommufd")
OURS = {
    "/etc/modules-load.d/katagpu.conf": "# Managed by katagpu.cluster.\nvfio-pci\nvfio_iommu_type1\nvhost_vsock\nvhost_net\niommufd\n",
    "/etc/modprobe.d/katagpu.conf": "# Managed by katagpu.cluster.\nblacklist nouveau\n",
}
BLACKLIST = "modprobe.blacklist=nouveau"


def host(
    cpu: str,
    *functions: dict[str, Any],
    flags: str,
    parameters: dict[str, str] | None,
    arguments: str = "quiet",
    kernel: str = NEW,
    files: dict[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """C(parameters) of the KVM module, or nothing where it is not loaded."""
    amd = "AMD" in cpu
    module = "/sys/module/kvm_amd" if amd else "/sys/module/kvm_intel"
    content = {**OURS, f"{module}/refcnt": "0\n"} if parameters is not None else dict(OURS)
    content.update({f"{module}/parameters/{name}": f"{value}\n" for name, value in (parameters or {}).items()})
    described = machine(
        *(functions or (H100,)),
        arguments=f"{arguments} {BLACKLIST}",
        firmware="IVRS" if amd else "DMAR",
        flags=("svm " if amd else "vmx ") + flags,
        vendor="AuthenticAMD" if amd else "GenuineIntel",
        loaded=LOADED,
        files={**content, **(files or {})},
        **more,
    )
    old = described["files"]
    described["files"] = {path.replace(KERNEL, kernel): text.replace(KERNEL, kernel) for path, text in old.items()}
    described["files"]["/proc/cpuinfo"] = described["files"]["/proc/cpuinfo"].replace("flags :", f"{cpu}\nflags :")
    return described


def epyc(*functions: dict[str, Any], snp: str | None = "Y", flag: bool = True, **more: Any) -> dict[str, Any]:
    """Genoa with SEV-SNP switched on in the firmware, unless something else is said."""
    parameters = {"sev": "Y", "sev_es": "Y", **({} if snp is None else {"sev_snp": snp})}
    files = {"/dev/sev": "", "/sys/fs/cgroup/misc.capacity": "sev 410\nsev_es 99\n", **more.pop("files", {})}
    given = {"cpu": GENOA, "flags": "sev sev_es" + (" sev_snp" if flag else ""), "parameters": parameters, **more}
    return host(given.pop("cpu"), *functions, files=files, **given)


def xeon(*functions: dict[str, Any], tdx: str | None = "Y", flag: bool = True, **more: Any) -> dict[str, Any]:
    """Emerald Rapids with TDX switched on in the firmware and asked for, unless something else is said."""
    files = {"/sys/power/disk": DOES_NOT, "/sys/fs/cgroup/misc.capacity": "tdx 31\n", **more.pop("files", {})}
    given = {
        "cpu": EMERALD,
        "flags": "tdx_host_platform" if flag else "",
        "parameters": {"nested": "Y", **({} if tdx is None else {"tdx": tdx})},
        "arguments": "quiet intel_iommu=on nohibernate kvm_intel.tdx=1",
        **more,
    }
    return host(given.pop("cpu"), *functions, files=files, **given)


def ask(described: dict[str, Any], root: Path, desired: dict[str, Any], **given: Any) -> dict[str, Any]:
    labelled = {"labels": {"nvidia.com/gpu.workload.config": "vm-passthrough"}, "kubelet": "v1.35.0"}
    return judge(described, root, **{"release": RELEASE, "desired": desired, "cluster_node": labelled, **given})


def states(answer: dict[str, Any]) -> dict[str, str]:
    """What was found about confidential machines that is not only a remark, by id."""
    return {
        item["id"]: item["state"]
        for item in answer["findings"]
        if item["severity"] == "block" and (item["id"].startswith("cc_") or item["id"] in ("B10", "vfio_owner"))
    }


def finding(answer: dict[str, Any], id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in answer["findings"] if item["id"] == id)
    return found
