# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import (
    apply,
    drop_in,
    facts,
    grub_defaults,
    plan,
    tokens,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._boot import module as shell
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from tests.unit import machines
from tests.unit.plugins.module_utils._boot import grub_host

WANTED = ["intel_iommu=on", "modprobe.blacklist=nouveau"]
UNWANTED = ["iommu=off", "amd_iommu=off"]


class Host:
    """A folder, and the stand-in for update-grub; counts how often it is run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = HostRoot(str(root))
        self.commands: list[list[str]] = []
        self.backups: list[str] = []
        self.result = (0, "", "")

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        if self.result[0] == 0:
            grub_host.update_grub(self.root, command[-1] if "-o" in command else None)
        return self.result

    def backup(self, path: str) -> None:
        self.backups.append(str(Path(path).relative_to(self.root)))
        Path(path + ".1.bak~").write_bytes(Path(path).read_bytes())

    def ensure(
        self, present: list[str], absent: list[str], check: bool = False, execute: bool = True
    ) -> dict[str, Any]:
        params = {"present": present, "absent": absent, "bootloader": "auto"}
        return shell.ensure(params, self.host, check, self.run, self.backup, execute)

    def facts(self) -> dict[str, Any]:
        return facts.read_facts(self.host)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(grub_host.build("debian13", tmp_path))


@pytest.mark.parametrize("name", grub_host.HOSTS)
def test_every_host_boots_with_the_arguments_and_a_second_run_does_nothing(name: str, tmp_path: Path) -> None:
    host = Host(grub_host.build(name, tmp_path))
    before = grub_host.snapshot(tmp_path)
    planned = host.ensure(WANTED, UNWANTED, check=True)
    assert grub_host.snapshot(tmp_path) == before and host.commands == []
    first = host.ensure(WANTED, UNWANTED)
    assert (first["changed"], first["configured"], first["diff"]) == (True, planned["configured"], planned["diff"])
    command = ["grub2-mkconfig", "-o", "/boot/grub2/grub.cfg"] if name in grub_host.IN_PLACE else ["update-grub"]
    assert planned["commands"] == first["commands"] == [command]
    beside = "/boot/grub2/grub.cfg.katagpu" if name in grub_host.IN_PLACE else "/boot/grub/grub.cfg.katagpu"
    assert host.commands == [[command[0], "-o", beside]] and not (tmp_path / beside[1:]).exists()
    assert first["reboot_required"]
    line = tokens.parse(" ".join(grub_host.shell_values(tmp_path)))
    assert all(tokens.carries(line, tokens.token(text)) for text in WANTED)
    assert not any(tokens.contains(line, tokens.token(text)) for text in UNWANTED)
    normal = [entry for entry in first["entries"] if entry["managed"]]
    assert len(normal) == 2 and not any(entry["missing"] or entry["unwanted"] for entry in first["entries"])
    after = grub_host.snapshot(tmp_path)
    second = host.ensure(WANTED, UNWANTED)
    assert not second["changed"] and second["commands"] == [] and second["diff"] == []
    assert grub_host.snapshot(tmp_path) == after and len(host.commands) == 1


@pytest.mark.parametrize("name", sorted({*grub_host.HOSTS} - {*grub_host.IN_PLACE}))
def test_taking_our_arguments_out_again_leaves_the_host_as_it_was(name: str, tmp_path: Path) -> None:
    host = Host(grub_host.build(name, tmp_path))
    before = {path: content for path, (_inode, _time, content) in grub_host.snapshot(tmp_path).items()}
    host.ensure(["katagpu.test=1", "hugepages=8"], [])
    assert (tmp_path / drop_in.PATH[1:]).exists()
    host.ensure([], ["katagpu.test", "hugepages=8"])
    assert {path: content for path, (_inode, _time, content) in grub_host.snapshot(tmp_path).items()} == before
    assert host.backups == []


def test_the_drop_in_is_ours_minimal_and_added_to(host: Host, tmp_path: Path) -> None:
    host.ensure(["quiet", "intel_iommu=on"], [])
    host.ensure(['dyndbg="file a/* +p"'], [])
    path = tmp_path / drop_in.PATH[1:]
    assert path.read_text() == (
        f"{drop_in.MARKER}: the file goes away when its last argument does.\n"
        'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT intel_iommu=on dyndbg=\\"file a/* +p\\""\n'
    )
    assert path.stat().st_mode & 0o777 == 0o644
    host.ensure(["intel_iommu=off"], ["dyndbg"])
    assert path.read_text().endswith('DEFAULT intel_iommu=off"\n')


def test_a_later_file_that_replaces_the_value_is_worked_around(tmp_path: Path) -> None:
    host = Host(grub_host.build("hoster", tmp_path))
    host.ensure(WANTED, [])
    assert 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX intel_iommu=on' in (tmp_path / drop_in.PATH[1:]).read_text()


def test_a_later_file_that_cannot_be_worked_around_is_named(tmp_path: Path) -> None:
    host = Host(grub_host.build("hoster", tmp_path))
    hoster = tmp_path / "etc/default/grub.d/hoster.cfg"
    hoster.write_text(hoster.read_text() + 'GRUB_CMDLINE_LINUX="net.ifnames=0"\n')
    before = grub_host.snapshot(tmp_path)
    with pytest.raises(KatagpuError, match=r"\[B16\]\[block\] .*grub\.d/hoster\.cfg.*Nothing was changed\. Fix:"):
        host.ensure(WANTED, [])
    assert grub_host.snapshot(tmp_path) == before


def test_arguments_behind_two_dashes_are_not_the_kernels(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "etc/default/grub"
    path.write_text('GRUB_CMDLINE_LINUX="quiet -- --log"\n')
    with pytest.raises(KatagpuError, match="behind -- goes to init"):
        host.ensure(WANTED, [])


def test_an_argument_is_cut_where_it_stands_with_a_backup(tmp_path: Path) -> None:
    host = Host(grub_host.build("quoting", tmp_path))
    before = (tmp_path / "etc/default/grub").read_bytes()
    host.ensure([], ["iommu=off", "quiet"])
    # The white space between two arguments goes with them; the line that was continued stays continued.
    expected = before.replace(b'"quiet \\\n  dyndbg', b'"\\\ndyndbg').replace(b'   iommu=off"\t', b'"\t')
    assert (tmp_path / "etc/default/grub").read_bytes() == expected != before
    assert host.backups == ["etc/default/grub"]
    assert (tmp_path / "etc/default/grub.1.bak~").read_bytes() == before


def test_a_run_killed_before_update_grub_is_finished_by_the_next(host: Host) -> None:
    computed = plan.plan(host.facts(), WANTED, [])
    apply.apply(host.host, computed, WANTED, [], host.run, host.backup, execute=False)
    assert host.commands == []
    result = host.ensure(WANTED, [])
    assert result["changed"] and result["files"] == [] and [command[0] for command in host.commands] == ["update-grub"]
    assert not host.ensure(WANTED, [])["changed"]


def test_a_failing_update_grub_is_reported_and_tried_again(host: Host) -> None:
    host.result = (1, "", "cannot find a device for /")
    with pytest.raises(
        KatagpuError, match=r"update-grub failed with status 1, after writing .*99-katagpu\.cfg.*cannot find"
    ):
        host.ensure(WANTED, [])
    host.result = (0, "", "")
    assert host.ensure(WANTED, [])["commands"] == [["update-grub"]]


def test_what_was_generated_is_checked_and_the_suspect_named(tmp_path: Path) -> None:
    host = Host(grub_host.build("script", tmp_path))
    script = tmp_path / "etc/default/grub.d/zz-last.cfg"
    script.write_text("if true; then GRUB_CMDLINE_LINUX_DEFAULT=quiet; fi\n")
    with pytest.raises(KatagpuError, match=r"2 boot entries, .*would lack intel_iommu=on.*zz-last\.cfg: line 1"):
        host.ensure(["intel_iommu=on"], [])


def test_an_update_grub_that_makes_no_entry_is_not_believed(host: Host, tmp_path: Path) -> None:
    host.result = (0, "", "")
    host.run = lambda command: ((tmp_path / "boot/grub/grub.cfg").write_text("# empty\n"), (0, "", ""))[1]  # type: ignore[method-assign]
    with pytest.raises(KatagpuError, match="no normal boot entry"):
        host.ensure(WANTED, [])


def test_our_file_stays_byte_for_byte_while_its_arguments_do(host: Host, tmp_path: Path) -> None:
    host.ensure(WANTED, [])
    path = tmp_path / drop_in.PATH[1:]
    path.write_text(path.read_text().replace(".\n", ", said an older version.\n# Seen by the administrator.\n", 1))
    assert not host.ensure(WANTED, [])["changed"]


def test_our_file_goes_away_when_it_adds_nothing(host: Host, tmp_path: Path) -> None:
    (tmp_path / drop_in.PATH[1:]).write_text(f"{drop_in.MARKER}\n")
    assert host.ensure([], [])["files"] == [drop_in.PATH]
    assert not (tmp_path / drop_in.PATH[1:]).exists()


def test_below_another_root_commands_are_returned_and_not_run(host: Host) -> None:
    first = host.ensure(WANTED, [], execute=False)
    assert (first["changed"], first["commands"], host.commands) == (True, [["update-grub"]], [])
    second = host.ensure(WANTED, [], execute=False)
    assert (second["changed"], second["commands"], host.commands) == (False, [["update-grub"]], [])


@pytest.mark.parametrize(
    ("running", "present", "absent", "expected"),
    [
        ("quiet intel_iommu=on", ["intel_iommu=on"], [], False),
        ("intel_iommu=on intel_iommu=off", ["intel_iommu=on"], [], True),
        ("intel_iommu=off intel_iommu=on", ["intel_iommu=on"], ["intel_iommu=off"], True),
        ("intel-iommu=on", ["intel_iommu=on"], ["iommu"], False),
        ("iommu=pt", [], ["iommu=off"], False),
        ("iommu=pt", [], ["iommu"], True),
    ],
)
def test_reboot_is_required_where_the_running_kernel_differs(
    host: Host, running: str, present: list[str], absent: list[str], expected: bool
) -> None:
    computed = plan.plan({**host.facts(), "running": running}, present, absent)
    assert computed.reboot_required is expected


BAD = [
    (["a\nb"], [], "line break"),
    (['a="b'], [], "quote that is not closed"),
    ([""], [], "empty token"),
    (["a b"], [], "not one token"),
    ([" a"], [], "not one token"),
    (["a=$(reboot)"], [], "mean something else"),
    (["a=`x`"], [], "mean something else"),
    (["a='x y'"], [], "mean something else"),
    (["a=b;c"], [], "GRUB reads as its own syntax"),
    (["=a"], [], "names no argument"),
    (["--"], [], "names no argument"),
    (["quiet"], ["quiet"], "both in present and in absent"),
    (["iommu=pt"], ["iommu"], "Fix: name the value that must go, for example iommu=off"),
    (["intel_iommu=on"], ["intel-iommu=on"], "both in present and in absent"),
    (["intel_iommu=on", "intel_iommu=off"], [], "the last value wins"),
]


@pytest.mark.parametrize(("present", "absent", "message"), BAD)
def test_bad_input_is_refused_before_anything_changes(
    host: Host, tmp_path: Path, present: list[str], absent: list[str], message: str
) -> None:
    before = grub_host.snapshot(tmp_path)
    with pytest.raises(KatagpuError, match=message) as caught:
        host.ensure(present, absent)
    assert "Nothing was changed. Fix:" in str(caught.value)
    assert grub_host.snapshot(tmp_path) == before


def test_a_file_of_our_name_that_is_not_ours_is_refused(host: Host, tmp_path: Path) -> None:
    (tmp_path / drop_in.PATH[1:]).write_text("GRUB_TIMEOUT=1\n")
    with pytest.raises(KatagpuError, match="was not written by this collection"):
        host.ensure(WANTED, [])


def test_a_file_that_is_not_utf8_is_not_edited(host: Host, tmp_path: Path) -> None:
    (tmp_path / "etc/default/grub").write_bytes(b'# \xe9\nGRUB_CMDLINE_LINUX="quiet"\n')
    assert host.ensure(WANTED, [])["changed"]
    with pytest.raises(KatagpuError, match="is not UTF-8"):
        host.ensure([], ["quiet"])


@pytest.mark.parametrize(
    "case", yaml.safe_load((grub_host.FIXTURES / "refused.yml").read_text()), ids=lambda case: case["name"]
)
def test_other_owners_are_named_and_refused(case: dict[str, Any], tmp_path: Path) -> None:
    host = Host(machines.build({"files": case["files"]}, tmp_path))
    found = host.facts()
    assert (found["bootloader"], found["supported"]) == (case["name"], False)
    before = grub_host.snapshot(tmp_path)
    with pytest.raises(KatagpuError) as caught:
        host.ensure(WANTED, [])
    assert case["fix"] in str(caught.value) and "Nothing was changed." in str(caught.value)
    assert grub_host.snapshot(tmp_path) == before


def test_a_host_of_another_owner_that_runs_as_wanted_needs_no_change(tmp_path: Path) -> None:
    files = {"/etc/os-release": "ID=talos\n", "/proc/cmdline": "intel_iommu=on modprobe.blacklist=nouveau\n"}
    host = Host(machines.build({"files": files}, tmp_path))
    result = host.ensure(WANTED, UNWANTED)
    assert (result["changed"], result["reboot_required"], result["commands"]) == (False, False, [])
    assert "Talos Linux" in result["uncertain"][0]


def test_the_loader_that_really_ran_counts(tmp_path: Path) -> None:
    host = Host(grub_host.build("debian13", tmp_path))
    variables = tmp_path / "sys/firmware/efi/efivars"
    variables.mkdir(parents=True)
    (variables / "LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f").write_bytes(
        b"\6\0\0\0" + "systemd-boot 257".encode("utf-16-le")
    )
    assert host.facts()["bootloader"] == "systemd_boot"


@pytest.mark.parametrize("asked", ["grubby", "systemd_boot", "rpm_ostree"])
def test_a_boot_loader_of_another_kind_is_refused(host: Host, asked: str) -> None:
    with pytest.raises(
        KatagpuError, match=f"{asked} was asked for, and this host has grub. Nothing was changed. Fix: use auto"
    ):
        plan.plan(host.facts(), [], [], asked)


def test_where_no_drop_in_is_read_the_arguments_stand_in_the_file_itself(tmp_path: Path) -> None:
    host = Host(grub_host.build("sles15", tmp_path))
    path = tmp_path / "etc/default/grub"
    before = path.read_text()
    # What grub2-mkconfig does not read has no say.
    (tmp_path / "etc/default/grub.d/10-ignored.cfg").write_text('GRUB_CMDLINE_LINUX_DEFAULT="intel_iommu=on"\n')
    host.ensure(["intel_iommu=on", 'dyndbg="file a/* +p"'], ["quiet"])
    wanted = ' mitigations=auto intel_iommu=on dyndbg=\\"file a/* +p\\""\n'
    assert path.read_text() == before.replace(' mitigations=auto quiet"\n', wanted)
    assert host.backups == ["etc/default/grub"] and not (tmp_path / drop_in.PATH[1:]).exists()
    host.ensure(["quiet"], ["intel_iommu=on", "dyndbg"])
    assert path.read_text() == before


def test_there_too_a_value_that_changes_back_and_forth_stands_once(tmp_path: Path) -> None:
    host = Host(grub_host.build("sles15", tmp_path))
    for value in ("pt", "strict", "pt", "strict"):
        host.ensure([f"iommu={value}"], [])
    assert 'quiet iommu=pt iommu=strict"\n' in (tmp_path / "etc/default/grub").read_text()


def test_a_menu_on_the_esp_is_refused(tmp_path: Path) -> None:
    """GRUB would never read the file that is generated."""
    host = Host(grub_host.build("sles15", tmp_path))
    (tmp_path / "boot/efi/EFI/sles/grub.cfg").write_text("menuentry 'SLES' {\n\tlinux /boot/vmlinuz root=/dev/a\n}\n")
    with pytest.raises(KatagpuError, match=r"EFI/sles/grub.cfg has boot entries of its own.*Nothing was changed"):
        host.ensure(WANTED, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('A="x"\n', 'A="x b=\\"1 2\\""\n'),
        ("A='x'\n", "A='x b=\"1 2\"'\n"),
        ('A=""\n', 'A="b=\\"1 2\\""\n'),
        ("A=\n", 'A="b=\\"1 2\\""\n'),
        ("A=x # c\n", 'A=x" b=\\"1 2\\"" # c\n'),
        ('A=x\nA="$A y"', 'A=x\nA="$A y b=\\"1 2\\""'),
        ("B=1", 'B=1\nA="b=\\"1 2\\""\n'),
        ("if true; then A=x; fi\n", 'if true; then A=x; fi\nA="b=\\"1 2\\""\n'),
    ],
)
def test_tokens_are_put_inside_the_quotes_of_the_last_value(text: str, expected: str) -> None:
    assert grub_defaults.with_tokens(text, "A", [tokens.token('b="1 2"')]) == expected


WORDS = st.lists(
    st.sampled_from(["quiet", "a=1", "a=2", "iommu=off", "console=tty0", 'd=\\"x y\\"', "b-c=1"]), max_size=6
)
SPECS = st.lists(st.sampled_from(["quiet", "a=1", "b_c=1", "console=tty0", "e=5", 'd="x y"']), max_size=3, unique=True)


@given(WORDS, WORDS, SPECS, st.lists(st.sampled_from(["iommu=off", "iommu", "a=2", "z"]), max_size=2), st.booleans())
def test_applying_twice_is_applying_once(
    always: list[str], normal: list[str], present: list[str], absent: list[str], drop_ins: bool
) -> None:
    state: dict[str, Any] = {
        "bootloader": "grub",
        "supported": True,
        "reason": "",
        "running": "",
        "drop_ins": drop_ins,
        "regenerate": ["update-grub"],
        "generated": {},
        "files": {
            "/etc/default/grub": f'GRUB_CMDLINE_LINUX="{" ".join(always)}"\nGRUB_CMDLINE_LINUX_DEFAULT="{" ".join(normal)}"\n'
        },
    }
    first = plan.plan(state, present, absent)
    files = {path: text for path, text in {**state["files"], **first.writes}.items() if text is not None}
    second = plan.plan({**state, "files": files}, present, absent)
    assert second.writes == {} and second.commands == []
    line = tokens.parse(first.configured_after)
    assert all(tokens.carries(line, tokens.token(text)) for text in present)
    assert not any(tokens.contains(line, tokens.token(text)) for text in absent)


def test_transactional_update_on_a_writable_system_owns_nothing(tmp_path: Path) -> None:
    host = Host(grub_host.build("sles15", tmp_path))
    (tmp_path / "usr/sbin/transactional-update").write_text("")
    (tmp_path / "proc/mounts").write_text("/dev/sda2 / btrfs ro 0 0\n/dev/sda2 / btrfs rw,relatime 0 0\n")
    assert host.facts()["bootloader"] == "grub"
    (tmp_path / "proc/mounts").write_text("/dev/sda2 / btrfs ro,relatime 0 0\n")
    assert host.facts()["bootloader"] == "transactional_update"
