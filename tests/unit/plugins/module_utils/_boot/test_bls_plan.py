# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loader entries of real machines: every normal kernel and the future ones get the arguments, nothing else changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import apply, facts, plan, tokens
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from tests.unit.plugins.module_utils._boot import grub_host, loader_host

WANTED = ["intel_iommu=on", "modprobe.blacklist=nouveau", 'dyndbg="file drivers/vfio/* +p"']
UNWANTED = ["iommu=off", "quiet"]


@pytest.mark.parametrize("name", loader_host.WITH_ENTRIES)
def test_the_host_is_recognised_and_read(name: str, tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build(name, tmp_path))
    description, found = loader_host.load(name), host.facts()
    assert (found["bootloader"], found["supported"], found["reason"]) == (description["bootloader"], True, "")
    first = next(iter(found["generated"]))
    assert first == description["first"]
    assert " ".join(found["generated"][first][0]["arguments"].split()) == description["expected"]


@pytest.mark.parametrize("name", loader_host.WITH_ENTRIES)
def test_every_kernel_gets_the_arguments_and_a_second_run_does_nothing(name: str, tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build(name, tmp_path))
    before = grub_host.snapshot(tmp_path)
    planned = host.ensure(WANTED, UNWANTED, check=True)
    assert grub_host.snapshot(tmp_path) == before
    first = host.ensure(WANTED, UNWANTED)
    assert (first["changed"], first["commands"], host.commands) == (True, [], [])
    for key in ("configured", "diff", "files"):
        assert first[key] == planned[key], key
    managed = [entry["path"] for entry in first["entries"] if entry["managed"]]
    assert len(managed) == (1 if name == "hand_made_systemd_boot" else 2)
    lines = loader_host.command_lines(tmp_path)
    for path in managed:
        line = tokens.parse(lines[path])
        assert all(tokens.carries(line, tokens.token(text)) for text in WANTED), path
        assert not any(tokens.contains(line, tokens.token(text)) for text in UNWANTED), path
        assert any(token.key == "root" for token in line.tokens), path
    assert first["configured"].split() == " ".join(lines[loader_host.load(name)["first"]].split()).split()
    after = grub_host.snapshot(tmp_path)
    for check in (True, False):
        second = host.ensure(WANTED, UNWANTED, check=check)
        assert (second["changed"], second["files"], second["diff"]) == (False, [], [])
    assert grub_host.snapshot(tmp_path) == after


@pytest.mark.parametrize("name", loader_host.WITH_ENTRIES)
def test_what_is_not_ours_stays_byte_for_byte(name: str, tmp_path: Path) -> None:
    """Taking out what was put in gives back every file; only a template that was made stays."""
    host = loader_host.Host(loader_host.build(name, tmp_path))
    before = loader_host.tree(tmp_path)
    host.ensure(["katagpu.test=1", "hugepages=8"], [])
    assert loader_host.tree(tmp_path) != before
    host.ensure([], ["katagpu.test", "hugepages=8"])
    after = loader_host.tree(tmp_path)
    made = {path for path in after if path not in before and not path.startswith("var/lib/katagpu/backup/")}
    assert made <= {"etc/kernel/cmdline"}
    assert {path: content for path, content in after.items() if path in before} == before


@pytest.mark.parametrize("name", loader_host.WITH_ENTRIES)
def test_rescue_entries_other_systems_and_programs_are_left_alone(name: str, tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build(name, tmp_path))
    before = loader_host.tree(tmp_path)
    result = host.ensure(WANTED, UNWANTED)
    others = [entry["path"] for entry in result["entries"] if not entry["managed"]]
    expected = {"rhel9": 1, "rocky8_uefi": 1, "debian12_systemd_boot": 2}
    assert len(others) == expected.get(name, 0)
    for path in others:
        assert (tmp_path / path[1:]).read_bytes() == before[path[1:]]


@pytest.mark.parametrize("name", loader_host.WITH_ENTRIES)
def test_a_kernel_installed_before_the_reboot_gets_them_too(name: str, tmp_path: Path) -> None:
    """What kernel-install makes its entry from: the variable on RHEL 8, else the template."""
    host = loader_host.Host(loader_host.build(name, tmp_path))
    host.ensure(WANTED, UNWANTED)
    if name == "rocky8_uefi":
        assert not (tmp_path / "etc/kernel/cmdline").exists()
        text = (tmp_path / "boot/grub2/grubenv").read_text()
        assert len(text.encode()) == 1024 and text.startswith("# GRUB Environment Block\nsaved_entry=6fa2")
        template = next(line for line in text.split("\n") if line.startswith("kernelopts=")).partition("=")[2]
    else:
        template = (tmp_path / "etc/kernel/cmdline").read_text()
        assert template.endswith("\n") and "$" not in template and "initrd=" not in template
    line = tokens.parse(template)
    assert all(tokens.carries(line, tokens.token(text)) for text in WANTED)
    assert not any(tokens.contains(line, tokens.token(text)) for text in UNWANTED)
    assert any(token.key == "root" for token in line.tokens)


@pytest.mark.parametrize("name", loader_host.WITH_GRUB)
def test_what_grub_mkconfig_would_make_of_it_agrees(name: str, tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build(name, tmp_path))
    host.ensure(WANTED, UNWANTED)
    line = tokens.parse(" ".join(grub_host.shell_values(tmp_path)))
    assert all(tokens.carries(line, tokens.token(text)) for text in WANTED)
    assert host.backups[0] == "etc/default/grub"


@pytest.mark.parametrize("name", loader_host.WITH_ENTRIES)
def test_a_power_cut_between_two_writes_leaves_a_bootable_machine_that_a_rerun_finishes(
    name: str, tmp_path: Path
) -> None:
    probe = loader_host.Host(loader_host.build(name, tmp_path / "probe"))
    steps = len(plan.plan(probe.facts(), WANTED, UNWANTED).writes)
    assert steps >= 2
    old = loader_host.command_lines(probe.root)
    probe.ensure(WANTED, UNWANTED)
    new = loader_host.command_lines(probe.root)
    for cut in range(steps):
        host = loader_host.Host(loader_host.build(name, tmp_path / str(cut)))
        computed = plan.plan(host.facts(), WANTED, UNWANTED)
        done = dict(list(computed.writes.items())[:cut])
        apply.apply(host.host, computed._replace(writes=done, touch={}), [], [], host.run, host.backup, execute=True)
        for path, line in loader_host.command_lines(host.root).items():
            assert line in (old[path], new[path]), (cut, path)
        assert host.ensure(WANTED, UNWANTED)["changed"]
        assert not host.ensure(WANTED, UNWANTED)["changed"]


def test_the_entry_that_boots_next_is_written_last(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("alma10_cloud", tmp_path))
    writes = list(plan.plan(host.facts(), WANTED, []).writes)
    assert writes[:2] == ["/etc/default/grub", "/etc/kernel/cmdline"]
    assert writes[-1] == loader_host.load("alma10_cloud")["first"]


def test_consoles_stay_and_their_order_too(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("alma10_cloud", tmp_path))
    host.ensure(["console=ttyS1"], [])
    for line in loader_host.command_lines(tmp_path).values():
        found = [word for word in line.split() if word.startswith("console=")]
        assert found == ["console=tty0", "console=ttyS0,115200n8", "console=ttyS1"]


def test_a_value_that_changes_back_and_forth_does_not_make_the_line_longer(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("rhel9", tmp_path))
    for value in ("pt", "strict", "pt", "strict"):
        host.ensure([f"iommu={value}"], [])
    line = loader_host.command_lines(tmp_path)[loader_host.load("rhel9")["first"]]
    assert line.split()[-2:] == ["iommu=pt", "iommu=strict"] and line.count("iommu=") == 2


def tuned(root: Path, value: str) -> None:
    path = root / "boot/grub2/grub.cfg"
    path.write_text(path.read_text().replace('tuned_params=""', f'tuned_params="{value}"'))


def test_the_last_word_of_a_variable_is_taken_from_it(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("rhel9", tmp_path))
    tuned(tmp_path, "isolcpus=2-5 intel_iommu=off")
    assert host.facts()["generated"][loader_host.load("rhel9")["first"]][0]["arguments"].endswith("intel_iommu=off")
    host.ensure(["intel_iommu=on"], [])
    text = (tmp_path / loader_host.load("rhel9")["first"][1:]).read_text()
    assert "$tuned_params intel_iommu=on\n" in text


def test_an_argument_that_a_variable_brings_is_refused_with_what_sets_it(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("rhel9", tmp_path))
    tuned(tmp_path, "intel_iommu=off")
    before = grub_host.snapshot(tmp_path)
    with pytest.raises(KatagpuError, match=r"\[B19\]\[block\] .*would still carry intel_iommu=off.*TuneD"):
        host.ensure(["intel_iommu=on"], ["intel_iommu=off"])
    assert grub_host.snapshot(tmp_path) == before


def replace(root: Path, path: str, old: str, new: str) -> None:
    target = root / path
    assert old in target.read_text()
    target.write_text(target.read_text().replace(old, new))


def test_grub_takes_the_first_line_of_options_only(tmp_path: Path) -> None:
    first = loader_host.load("rhel9")["first"]
    host = loader_host.Host(loader_host.build("rhel9", tmp_path))
    replace(tmp_path, first[1:], "grub_users", "options quiet second=1\ngrub_users")
    host.ensure(["intel_iommu=on"], ["quiet"])
    text = (tmp_path / first[1:]).read_text()
    assert "$tuned_params intel_iommu=on\noptions quiet second=1\n" in text


def test_a_host_that_runs_as_wanted_gets_no_template(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("alma10_cloud", tmp_path))
    assert not host.ensure(["net.ifnames=0"], ["iommu=off"])["changed"]
    replace(tmp_path, "proc/cmdline", "net.ifnames=0", "")
    assert host.ensure(["net.ifnames=0"], [])["files"] == [facts.TEMPLATE]


def test_a_template_that_is_made_has_nothing_of_one_boot_and_no_variables(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("rhel9", tmp_path / "a"))
    (tmp_path / "a/etc/kernel/cmdline").unlink()
    host.ensure(["intel_iommu=on"], [])
    made = (tmp_path / "a/etc/kernel/cmdline").read_text()
    assert made == loader_host.load("rhel9")["expected"] + " intel_iommu=on\n"
    host = loader_host.Host(loader_host.build("hand_made_systemd_boot", tmp_path / "b"))
    replace(tmp_path / "b", "boot/loader/entries/arch.conf", "options root", "options initrd=\\x.img root")
    host.ensure(["intel_iommu=on"], [])
    assert "initrd=" not in (tmp_path / "b/etc/kernel/cmdline").read_text()


def test_a_vendor_template_is_the_source_of_ours(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("hand_made_systemd_boot", tmp_path))
    (tmp_path / "usr/lib/kernel").mkdir(parents=True)
    (tmp_path / "usr/lib/kernel/cmdline").write_text("root=LABEL=a quiet\n")
    host.ensure(["intel_iommu=on"], [])
    assert (tmp_path / "etc/kernel/cmdline").read_text() == "root=LABEL=a quiet intel_iommu=on\n"


def test_the_variable_is_kept_up_also_where_no_entry_names_it(tmp_path: Path) -> None:
    """Future kernels of RHEL 8 do."""
    host = loader_host.Host(loader_host.build("rocky8_uefi", tmp_path))
    for path in (tmp_path / "boot/loader/entries").iterdir():
        path.write_text(path.read_text().replace("$kernelopts", "root=/dev/mapper/rl-root ro"))
    host.ensure(["intel_iommu=on"], [])
    assert "rhgb quiet intel_iommu=on \n" in (tmp_path / "boot/efi/EFI/rocky/grubenv").read_text()


def test_the_saved_entry_comes_first(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("rhel9", tmp_path))
    replace(tmp_path, "boot/grub2/grubenv", "5.14.0-427.26.1.el9_4", "5.14.0-362.8.1.el9_3")
    assert "362.8.1" in next(iter(host.facts()["generated"]))


def test_grub_does_not_look_at_machine_ids(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("alma10_cloud", tmp_path))
    for path in (tmp_path / "boot/loader/entries").iterdir():
        path.write_text(path.read_text() + f"machine-id {'f' * 32}\n")
    assert len([entry for entry in host.ensure(["a=1"], [])["entries"] if entry["managed"]]) == 2


def test_a_folder_that_is_reached_by_two_names_counts_once(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("debian12_systemd_boot", tmp_path))
    (tmp_path / "efi").symlink_to("boot/efi")
    assert len(host.facts()["generated"]) == 4


def test_entries_in_another_folder_are_refused(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("rhel9", tmp_path))
    replace(tmp_path, "boot/grub2/grubenv", "boot_indeterminate=0", "blsdir=/ostree")
    with pytest.raises(KatagpuError, match=r"reads? its entries from /ostree.*Nothing was changed"):
        host.ensure(["a=1"], [])


REFUSED = [
    (
        "rhel9",
        "boot/loader/entries/dcb323fab47049e8b89dae2ae00d41e8-5.14.0-362.8.1.el9_3.x86_64.conf",
        "options ",
        "x ",
    ),
    ("rocky8_uefi", "boot/efi/EFI/rocky/grubenv", "boot_indeterminate=0", f"long={'x' * 700}"),
    ("rhel9", "etc/kernel/cmdline", "rhgb", "rhgb\udcff"),
    ("debian12_systemd_boot", "etc/machine-id", "3e66", "0000"),
]


@pytest.mark.parametrize(("name", "path", "old", "new"), REFUSED)
def test_a_refusal_leaves_the_tree_as_it_was(name: str, path: str, old: str, new: str, tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build(name, tmp_path))
    target = tmp_path / path
    content = target.read_bytes().replace(old.encode(), new.encode("utf-8", "surrogateescape"))
    assert content != target.read_bytes()
    target.write_bytes(content[:1024] if path.endswith("grubenv") else content)
    before = grub_host.snapshot(tmp_path)
    with pytest.raises(KatagpuError, match=r"Nothing was changed\. Fix:"):
        host.ensure([*WANTED, f"katagpu.test={'y' * 80}"], [])
    assert grub_host.snapshot(tmp_path) == before


def test_without_the_variable_in_the_block_the_fallback_counts_and_the_block_gets_it(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("rocky8_uefi", tmp_path))
    path = tmp_path / "boot/efi/EFI/rocky/grubenv"
    text = "".join(line for line in path.read_text().splitlines(True) if not line.startswith("kernelopts="))
    path.write_text(text.rstrip("#") + "#" * (1024 - len(text.rstrip("#"))))
    host.ensure(["intel_iommu=on"], [])
    assert "kernelopts=root=/dev/mapper/rl-root ro crashkernel=auto intel_iommu=on \n" in path.read_text()
    assert (tmp_path / "boot/grub2/grubenv").is_symlink()


def test_without_any_value_for_the_variable_it_is_refused(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("rocky8_uefi", tmp_path))
    for path, name in (("grubenv", "kernelopts="), ("grub.cfg", "set kernelopts=")):
        replace(tmp_path, f"boot/efi/EFI/rocky/{path}", name, name.replace("kernelopts", "no_kernelopts"))
    with pytest.raises(KatagpuError, match="would not boot"):
        host.ensure(["intel_iommu=on"], [])


def test_the_template_stays_younger_than_what_it_is_made_from(tmp_path: Path) -> None:
    """kernel-install makes it anew where it is older, which would lose what stands in it only."""
    host = loader_host.Host(loader_host.build("rhel9", tmp_path))
    defaults, template = tmp_path / "etc/default/grub", tmp_path / "etc/kernel/cmdline"
    replace(tmp_path, "etc/kernel/cmdline", "quiet", "quiet katagpu.test=1")
    os.utime(defaults, (1000, 1000))
    os.utime(template, (2000, 2000))
    host.ensure(["katagpu.test=1"], [])
    assert template.stat().st_mtime >= defaults.stat().st_mtime > 2000


def test_a_template_that_waits_to_be_made_anew_still_does(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("rhel9", tmp_path))
    defaults, template = tmp_path / "etc/default/grub", tmp_path / "etc/kernel/cmdline"
    os.utime(defaults, (2000, 2000))
    os.utime(template, (1000, 1000))
    host.ensure(["intel_iommu=on"], [])
    assert "intel_iommu=on" in template.read_text()
    assert template.stat().st_mtime < defaults.stat().st_mtime


def test_the_first_text_of_an_entry_is_kept_outside_the_folder_that_boot_loaders_read(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("debian12_systemd_boot", tmp_path))
    first = loader_host.load("debian12_systemd_boot")["first"]
    before = (tmp_path / first[1:]).read_bytes()
    host.ensure(["intel_iommu=on"], [])
    host.ensure(["iommu=pt"], [])
    assert (tmp_path / f"var/lib/katagpu/backup{first}").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / first[1:]).parent.iterdir()) == sorted(
        Path(path).name for path in loader_host.command_lines(tmp_path)
    )


def test_below_another_root_entries_are_written_and_no_command_is_left(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("rhel9", tmp_path))
    result = host.ensure(WANTED, [], execute=False)
    assert (result["changed"], result["commands"]) == (True, [])
    assert not host.ensure(WANTED, [], execute=False)["changed"]
