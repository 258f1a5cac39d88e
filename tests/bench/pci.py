# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI functions from sysfs: our reader, and the usual way, which is lspci in a subprocess and regular expressions over its text.

Both read the same made tree in memory. On a real machine reading configuration space takes longer, for both.
"""

from __future__ import annotations

import gc
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.katagpu.cluster.plugins.module_utils._pci.facts import read_facts
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from tests.unit import config_space, machines

SIZES = (16, 128, 512)
RUNS = 15
BUDGET = 0.1
# Functions below one port: seven and the port make eight.
_PER_PORT = 7
_SPEED = "420100000000000000000401000000000401"
# A card of today: capabilities that are stepped over, and one with three resizable registers.
_CAPABILITIES = [["60", "01"], ["68", "05"], ["78", "10", _SPEED.replace("42", "02", 1)], ["b4", "09"]]
_REGISTERS = "000100006004000000fc1f00010800000002000003050000"
_EXTENDED = [
    ["100", "0002"],
    ["128", "0004"],
    ["258", "001e"],
    ["420", "0001"],
    ["600", "000b"],
    ["bb0", "0015", _REGISTERS],
]
_RECORD = re.compile(
    r"^(Slot|Class|Vendor|Device|SVendor|SDevice|Rev|Driver|Module|IOMMUGroup):\s+(.*?)(?: \[([0-9a-f]{4})\])?$", re.M
)
_DETAIL = re.compile(r"^\s+(ACSCap|ACSCtl|LnkCap|LnkSta|Kernel driver in use|Region \d|\s+BAR \d):?\s+(.*)$", re.M)

Row = dict[str, Any]


def functions(count: int) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for number in range(count // (_PER_PORT + 1)):
        port = f"0000:00:{number // 8 + 1:02x}.{number % 8}"
        isolating = config_space.port("root_port", (0x1F, 0x1D), header_type=0x81)
        files = {
            "irq": "24\n",
            "power_state": "D0\n",
            "modalias": "pci:v00008086d00003408sv00000000sd00000000bc06sc04i00\n",
        }
        made.append(
            {
                "address": port,
                "class": "060400",
                "vendor": "8086",
                "device": "3408",
                "config": isolating,
                "driver": "pcieport",
                "group": str(len(made)),
                "files": files,
                "bars": [],
            }
        )
        made += [
            _card(f"0000:{number + 1:02x}:00.{function}", port, len(made) + function) for function in range(_PER_PORT)
        ]
    return made


def _card(address: str, parent: str, group: int) -> dict[str, Any]:
    files = {
        "irq": "25\n",
        "power_state": "D0\n",
        "reset_method": "flr bus\n",
        "modalias": "pci:v000010DEd00002236sv000010DEsd00001482bc03sc02i00\n",
        "sriov_totalvfs": "16\n",
        "sriov_numvfs": "0\n",
    }
    return {
        "address": address,
        "class": "030200",
        "vendor": "10de",
        "device": "2236",
        "subsystem": "10de:1482",
        "revision": "a1",
        "driver": "vfio-pci",
        "group": str(group),
        "parent": parent,
        "bars": [[0, "memory", 0xDE000000, 1 << 24, 32, False], [1, "memory", 0x10000000000, 1 << 36, 64, True]],
        "config": {"header_type": "80", "capabilities": _CAPABILITIES, "extended": _EXTENDED},
        "files": files,
    }


def best(work: Callable[[], Any]) -> list[float]:
    """Seconds that pass and seconds of processor time, the least of several runs, for others use this machine too."""
    measured = []
    for _run in range(RUNS):
        gc.collect()
        began, used = time.perf_counter(), _processor()
        work()
        measured.append((time.perf_counter() - began, _processor() - used))
    return [min(wall for wall, _used in measured), min(used for _wall, used in measured)]


def _processor() -> float:
    """Of this process and of those it waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def with_lspci(program: str, root: Path, *options: str, pattern: re.Pattern[str]) -> int:
    path = f"sysfs.path={root}/sys/bus/pci"
    done = subprocess.run([program, "-O", path, *options], capture_output=True, text=True, check=True)
    return len(pattern.findall(done.stdout))


def measure(count: int, lspci: str | None, folder: Path) -> Row:
    root = machines.build({"pci": functions(count)}, folder / str(count))
    host = HostRoot(str(root))
    read = read_facts(host)["devices"]
    if len(read) != count or any(device["express_type"] is None for device in read):
        raise AssertionError(f"{count} functions were made and {len(read)} read")
    row: Row = {"functions": count, "ours": best(lambda: read_facts(host)), "lspci": None, "lspci_vv": None}
    if lspci:
        row["lspci"] = best(lambda: with_lspci(lspci, root, "-Dvmmnnk", pattern=_RECORD))
        row["lspci_vv"] = best(lambda: with_lspci(lspci, root, "-Dvvnnk", pattern=_DETAIL))
    return row


def run() -> tuple[list[Row], list[dict[str, Any]]]:
    lspci = shutil.which("lspci", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if lspci is None:
        print("bench | lspci is not installed (package pciutils), so only our reader is measured", flush=True)
    memory = Path("/dev/shm")
    rows = []
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        for count in SIZES:
            print(f"bench | {count} PCI functions", flush=True)
            rows.append(measure(count, lspci, Path(folder)))
    return rows, judge(rows)


def judge(rows: list[Row]) -> list[dict[str, Any]]:
    """By processor time, which is what passes on a machine that has nothing else to do."""
    last = rows[-1]
    wall, used = last["ours"]
    text = f"{last['functions']} functions in {used:.3f} s of processor time ({wall:.3f} s passed), at most {BUDGET} s"
    return [{"kept": used <= BUDGET, "text": text}]


_COLUMNS = {"ours": "ours, with capabilities", "lspci": "lspci -vmmnnk + regex", "lspci_vv": "lspci -vvnnk + regex"}


def table(rows: list[Row]) -> str:
    """Passed / processor seconds, and how many times ours that is."""
    head = f"{'functions':>9}" + "".join(f"{title:>26}{'times':>12}" for title in _COLUMNS.values())
    return "\n".join([head, *(_line(row) for row in rows)])


def _line(row: Row) -> str:
    text = f"{row['functions']:>9}"
    for key in _COLUMNS:
        pair = row[key]
        if pair is None:
            text += f"{'-':>26}{'-':>12}"
            continue
        seconds = " / ".join(f"{number:.4f}" for number in pair)
        times = " / ".join(f"{number / own:.1f}" for number, own in zip(pair, row["ours"], strict=True))
        text += f"{seconds:>26}{times:>12}"
    return text
