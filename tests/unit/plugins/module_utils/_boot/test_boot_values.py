# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments over plain data: where a token goes, what is refused and in which words, and what a plan says in full."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import drop_in, plan, tokens, wishes
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

QUIET = tokens.token("quiet")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "quiet"),
        ("\n", "quiet\n"),
        ("a", "a quiet"),
        ("a \n", "a quiet \n"),
        ("quiet a", "a quiet"),
        ("a quiet", "a quiet"),
        # The white space behind a token that is alone goes with it.
        ("quiet\n", "quiet"),
        (" quiet b quiet\n", " b quiet\n"),
        ("quiet=1 a", "quiet=1 a quiet"),
    ],
)
def test_a_token_is_moved_behind_the_last_one(line: str, expected: str) -> None:
    assert str(tokens.moved(tokens.parse(line), QUIET)) == expected


@pytest.mark.parametrize(
    ("line", "spans"),
    [
        ("x a", [(0, 2)]),
        ("a x", [(1, 3)]),
        ("a x  b", [(1, 3)]),
        ("  x a", [(2, 4)]),
        ("x x", [(0, 2), (2, 3)]),
        ("a x x b", [(1, 3), (3, 5)]),
        ("a -- x", []),
        ("x -- x", [(0, 2)]),
    ],
)
def test_what_is_cut_is_said_by_places(line: str, spans: list[tuple[int, int]]) -> None:
    assert tokens.removals(tokens.parse(line), lambda token: token.key == "x") == spans


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ('"a', "a", None),
        ('"a=b', "a", "b"),
        ('a="b', "a", "b"),
        ('a=b"', "a", 'b"'),
        ('a"', 'a"', None),
        ('"a"', "a", None),
        ('""', "", None),
        ("=", "", ""),
        ("a-b=c-d", "a_b", "c-d"),
    ],
)
def test_quotes_that_are_not_closed(text: str, key: str, value: str | None) -> None:
    assert tokens.token(text) == (text, key, value)


def test_what_stands_behind_the_end_is_not_the_kernels() -> None:
    line = tokens.parse("a -- b -- c")
    assert [token.text for token in line.tokens] == ["a", "--", "b", "--", "c"]
    assert [token.text for token in line.kernel_tokens] == ["a"]
    assert tokens.contains(line, tokens.token("a")) and not tokens.contains(line, tokens.token("b"))


@pytest.mark.parametrize(
    ("item", "spec", "same"),
    [
        ("a=1", "a", True),
        ("a", "a", True),
        ("a=1", "a=1", True),
        ("a=1", "a=2", False),
        ("b=1", "a", False),
        ("a", "a=1", False),
    ],
)
def test_a_bare_key_stands_for_any_value(item: str, spec: str, same: bool) -> None:
    assert tokens.matches(tokens.token(item), tokens.token(spec)) is same


@pytest.mark.parametrize(
    ("line", "wanted", "carried"),
    [
        ("rd.driver.blacklist=a,b", "rd.driver.blacklist=b,a", True),
        ("rd.driver.blacklist=a rd.driver.blacklist=b", "rd.driver.blacklist=a,b", True),
        ("rd.driver.blacklist=a", "rd.driver.blacklist=a,b", False),
        ("rd.driver.blacklist", "rd.driver.blacklist=a", False),
        ("modprobe.blacklist=a", "modprobe.blacklist", False),
        ("modprobe.blacklist", "modprobe.blacklist", True),
        ("hugepagesz=1G hugepages=4 hugepagesz=2M hugepages=8", "hugepages=4", True),
        ("iommu=pt iommu=nopt", "iommu=pt", False),
        ("", "a", False),
    ],
)
def test_lists_and_repeated_arguments(line: str, wanted: str, carried: bool) -> None:
    assert tokens.carries(tokens.parse(line), tokens.token(wanted)) is carried


REFUSED = {
    "": "present has an empty token. Nothing was changed. Fix: remove it.",
    " \t": "present has an empty token. Nothing was changed. Fix: remove it.",
    "a\nb": "present has 'a\\nb', with a line break or a control character. Nothing was changed. "
    "Fix: give each argument as one token on one line.",
    "a\x7f": "present has 'a\\x7f', with a line break or a control character. Nothing was changed. "
    "Fix: give each argument as one token on one line.",
    'a="b': "present has 'a=\"b', with a quote that is not closed. Nothing was changed. Fix: close it.",
    "a=$b": "present has 'a=$b'. A boot loader's configuration is a script, in which the characters ' ` $ \\ "
    'mean something else. Nothing was changed. Fix: use double quotes (name="a b") for values with spaces.',
    "a b": "present has 'a b', which is not one token. Nothing was changed. "
    'Fix: give a list of tokens, and quote a value with spaces (name="a b").',
    " a": "present has ' a', which is not one token. Nothing was changed. "
    'Fix: give a list of tokens, and quote a value with spaces (name="a b").',
    "a;b": "present has 'a;b', with one of ; & | < > { } outside quotes, which GRUB reads as its own syntax. "
    "Nothing was changed. Fix: put the value in double quotes.",
    "#a": "present has '#a', which names no argument. Nothing was changed. Fix: write name=value.",
    "=a": "present has '=a', which names no argument. Nothing was changed. Fix: write name=value.",
    "--": "present has '--', which names no argument. Nothing was changed. Fix: write name=value.",
}


@pytest.mark.parametrize("text", REFUSED)
@pytest.mark.parametrize("option", ["present", "absent"])
def test_what_would_be_misread_is_refused(text: str, option: str) -> None:
    given = ([text], []) if option == "present" else ([], [text])
    with pytest.raises(KatagpuError) as caught:
        wishes.read(*given)
    assert str(caught.value) == REFUSED[text].replace("present", option, 1)


@pytest.mark.parametrize("text", ["a", "a=b", 'a="b c"', 'a="b;c"', "a=b,c", "a.b=c:d", 'dyndbg="file a/* +p"', "a='"])
def test_what_is_one_token_is_taken(text: str) -> None:
    if "'" in text:
        with pytest.raises(KatagpuError, match="is a script"):
            wishes.read([text], [])
        return
    assert [token.text for token in wishes.read([text], []).present] == [text]


@pytest.mark.parametrize(
    ("present", "absent", "message"),
    [
        (
            ["iommu=pt", "iommu=nopt"],
            [],
            "present names iommu=pt and iommu=nopt, and for iommu the last value wins. Nothing was changed. "
            "Fix: name one of them.",
        ),
        (
            ["iommu=pt"],
            ["iommu"],
            "iommu=pt is in present, and absent names iommu with any value. Nothing was changed. "
            "Fix: name the value that must go, for example iommu=off.",
        ),
        (
            ["iommu=pt"],
            ["iommu=pt"],
            "iommu=pt is both in present and in absent. Nothing was changed. Fix: name it once.",
        ),
        (["quiet"], ["quiet"], "quiet is both in present and in absent. Nothing was changed. Fix: name it once."),
    ],
)
def test_contradictions_are_refused(present: list[str], absent: list[str], message: str) -> None:
    with pytest.raises(KatagpuError) as caught:
        wishes.read(present, absent)
    assert str(caught.value) == message


def test_the_same_wish_twice_is_one() -> None:
    wanted = wishes.read(["a=1", "a=1", "console=x", "console=y"], ["b", "b", "c=1", "c=2"])
    assert [token.text for token in wanted.present] == ["a=1", "console=x", "console=y"]
    assert [token.text for token in wanted.absent] == ["b", "c=1", "c=2"]
    assert wishes.read(["iommu=pt"], ["iommu=off"]).present[0].text == "iommu=pt"


LINE = st.lists(st.sampled_from(["a", "a=1", "a=2", "b", "console=x", "iommu=off", "c=3"]), max_size=8)


@given(LINE, LINE, LINE)
def test_what_is_adjusted_needs_nothing_more(line: list[str], present: list[str], absent: list[str]) -> None:
    try:
        wanted = wishes.read(present, absent)
    except KatagpuError:
        return
    before = tokens.parse(" ".join(line))
    after = wanted.adjusted(before)
    assert wanted.problems(after) == ([], []) and wanted.adjusted(after) == after
    asked = {token.meaning for token in wanted.present}
    kept = [token.text for token in before.tokens if not wanted.drops(token) and token.meaning not in asked]
    assert [token.text for token in after.tokens if token.meaning not in asked] == kept


def entry(arguments: str, managed: bool = True, title: str = "t") -> dict[str, Any]:
    return {"title": title, "kernel": "/vmlinuz", "arguments": arguments, "managed": managed}


def facts(**change: Any) -> dict[str, Any]:
    """A host with GRUB and drop-ins."""
    return {
        "bootloader": "grub",
        "supported": True,
        "reason": "",
        "running": "ro quiet",
        "files": {"/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'},
        "drop_ins": True,
        "regenerate": ["update-grub"],
        "generated": {"/boot/grub/grub.cfg": [entry("ro quiet"), entry("ro single", False, "r")]},
        "notes": [],
        "read_at_boot": [],
        **change,
    }


def test_the_whole_plan() -> None:
    result = plan.plan(facts(), ["iommu=pt"], ["quiet"])
    assert result.as_dict() == {
        "bootloader": "grub",
        "configured_before": "quiet",
        "configured_after": "iommu=pt",
        "running": "ro quiet",
        "writes": {
            "/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT=""\n',
            drop_in.PATH: f"{drop_in.MARKER}: the file goes away when its last argument does.\n"
            'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT iommu=pt"\n',
        },
        "before": {"/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n', drop_in.PATH: None},
        "commands": [["update-grub"]],
        "reboot_required": True,
        "entries": [
            {"path": "/boot/grub/grub.cfg", **entry("ro quiet"), "missing": ["iommu=pt"], "unwanted": ["quiet"]},
            {"path": "/boot/grub/grub.cfg", **entry("ro single", False, "r"), "missing": [], "unwanted": []},
        ],
        "uncertain": [],
        "touch": {},
    }


def test_what_was_generated_before_is_made_anew_though_nothing_is_written() -> None:
    stale = facts(running="ro quiet", generated={"/boot/grub/grub.cfg": [entry("ro")]})
    result = plan.plan(stale, ["quiet"], [])
    assert result.writes == {} and result.commands == [["update-grub"]] and not result.reboot_required
    fresh = plan.plan(facts(), ["quiet"], [])
    assert fresh.writes == {} and fresh.commands == [] and not fresh.reboot_required
    unwanted = facts(running="ro", files={"/etc/default/grub": ""}, generated={"/g": [entry("ro quiet")]})
    assert plan.plan(unwanted, [], ["quiet"]).commands == [["update-grub"]]


UNKNOWN = {"bootloader": "zipl", "supported": False, "reason": "zipl is not edited. Fix: edit /etc/zipl.conf by hand."}


def test_a_loader_that_is_not_edited_is_named_only_where_something_is_to_be_done() -> None:
    result = plan.plan(facts(**UNKNOWN), ["quiet"], ["iommu"])
    assert result.as_dict() == {
        **{"bootloader": "zipl", "configured_before": "", "configured_after": "", "running": "ro quiet"},
        **{"writes": {}, "before": {}, "commands": [], "reboot_required": False, "entries": [], "touch": {}},
        "uncertain": [UNKNOWN["reason"]],
    }
    for present, absent in ((["iommu=pt"], []), ([], ["quiet"])):
        with pytest.raises(KatagpuError) as caught:
            plan.plan(facts(**UNKNOWN), present, absent)
        assert str(caught.value) == f"[B22][block] {UNKNOWN['reason']} Nothing was changed. Evidence: zipl"


def test_another_loader_than_was_asked_for_is_refused() -> None:
    assert plan.plan(facts(), ["quiet"], [], "grub").writes == {}
    with pytest.raises(KatagpuError) as caught:
        plan.plan(facts(), ["quiet"], [], "grubby")
    message = "The boot loader grubby was asked for, and this host has grub. Nothing was changed. "
    assert str(caught.value) == f"{message}Fix: use auto."
    with pytest.raises(KatagpuError, match=r"this host has zipl\. Nothing was changed\. zipl is not edited"):
        plan.plan(facts(**UNKNOWN), ["quiet"], [], "grub")


def test_after_the_change_every_normal_entry_is_as_wanted() -> None:
    plan.check_generated(facts(), ["quiet"], [])
    plan.check_generated(facts(bootloader="grubby"), ["quiet"], ["single"])


def test_a_change_that_leaves_no_normal_entry_is_told() -> None:
    with pytest.raises(KatagpuError) as caught:
        plan.check_generated(facts(generated={"/boot/grub/grub.cfg": [entry("ro", False)]}), ["quiet"], [])
    assert str(caught.value) == (
        "[B16][block] After update-grub there is no normal boot entry for Linux, so nothing tells what the next boot will do. "
        "Our files were written and the rest was left alone. Fix: look at what update-grub prints, and do not reboot before. "
        "Evidence: /boot/grub/grub.cfg"
    )
    with pytest.raises(KatagpuError, match=r"After the change there is .* Evidence: no boot entries were found$"):
        plan.check_generated(facts(bootloader="grubby", generated={}), ["quiet"], [])


def test_what_had_the_last_word_is_told() -> None:
    given = facts(
        files={
            "/etc/default/grub": 'GRUB_CMDLINE_LINUX="a"\n',
            "/etc/default/grub.d/z.cfg": 'GRUB_CMDLINE_LINUX="b"\nX="y"\n',
        },
        generated={"/boot/grub/grub.cfg": [entry("ro quiet"), entry("ro iommu=off")]},
    )
    with pytest.raises(KatagpuError) as caught:
        plan.check_generated(given, ["quiet"], ["iommu"])
    assert str(caught.value) == (
        "[B16][block] /boot/grub/grub.cfg: 1 boot entries, first 't', would lack quiet and would still carry iommu after "
        "update-grub. The next boot would not be as wanted. Our files were written and the rest was left alone. "
        "Fix: look at what has the last word: GRUB_CMDLINE_LINUX comes from /etc/default/grub.d/z.cfg. "
        "Evidence: /boot/grub/grub.cfg: linux /vmlinuz ro iommu=off"
    )
    doubtful = {**given, "files": {"/etc/default/grub": ". /etc/other\n"}}
    with pytest.raises(
        KatagpuError, match=r"last word: /etc/default/grub: line 1: \. /etc/other: \. can change any variable"
    ):
        plan.check_generated(doubtful, ["quiet"], [])


@pytest.mark.parametrize(("read", "text"), [(["/etc/kernel/cmdline", "/x"], "/etc/kernel/cmdline; /x"), ([], "grubby")])
def test_other_loaders_name_what_they_read(read: list[str], text: str) -> None:
    given = facts(bootloader="grubby", read_at_boot=read, generated={"/e": [entry("ro")]})
    with pytest.raises(KatagpuError, match=rf"after the change\. .*what has the last word: {text}\. Evidence"):
        plan.check_generated(given, ["quiet"], [])


def test_a_file_that_is_no_text_is_not_edited() -> None:
    broken = facts(files={"/etc/default/grub": 'GRUB_CMDLINE_LINUX="quiet"\n# \ufffd\n'})
    with pytest.raises(KatagpuError, match=r"^/etc/default/grub is not UTF-8 text or is larger than 262144 bytes"):
        plan.plan(broken, [], ["quiet"])
    assert drop_in.PATH in plan.plan(broken, ["iommu=pt"], []).writes, "what is not edited may be what it is"


@pytest.mark.parametrize(
    ("present", "absent", "needed"),
    [(["quiet"], ["iommu"], False), (["iommu=pt"], [], True), ([], ["quiet"], True), (["iommu=pt"], ["quiet"], True)],
)
def test_a_reboot_is_needed_for_what_runs_and_not_for_what_is_written(
    present: list[str], absent: list[str], needed: bool
) -> None:
    assert plan.plan(facts(), present, absent).reboot_required is needed


def test_the_program_that_generates_is_named_without_its_options() -> None:
    given = facts(regenerate=["grub2-mkconfig", "-o", "/boot/grub2/grub.cfg"], generated={"/a": [], "/b": []})
    with pytest.raises(KatagpuError, match=r"After grub2-mkconfig there is .* Evidence: /a, /b$"):
        plan.check_generated(given, ["quiet"], [])
