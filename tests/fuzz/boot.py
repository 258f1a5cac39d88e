# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reads and edits the files of boot loaders. Each takes any bytes and says by an assertion what does not hold."""

from __future__ import annotations

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import (
    bls,
    drop_in,
    grub_cfg,
    grub_defaults,
    grub_env,
    gvariant,
    ostree,
    tokens,
    wishes,
)
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

WANTED = tokens.token('dyndbg="file a +p"')
PLAIN = tokens.token("intel_iommu=on")
_BLOCKS = ("if", "case", "for", "while", "until", "{")


def kernel_arguments(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    line = tokens.parse(text)
    assert str(line) == text
    assert str(tokens.without(line, lambda _token: False)) == text
    assert not tokens.without(line, lambda _token: True).kernel_tokens
    for wanted in (WANTED, PLAIN):
        dropped = tokens.without(line, lambda item, wanted=wanted: tokens.matches(item, wanted))  # type: ignore[misc]
        assert not tokens.contains(dropped, wanted)
        assert [item for item in line.kernel_tokens if not tokens.matches(item, wanted)] == dropped.kernel_tokens
        moved = tokens.moved(line, wanted)
        if not any(item.text == tokens.END_OF_KERNEL for item in line.tokens) and _closed(text):
            assert tokens.carries(moved, wanted)
            assert str(tokens.moved(moved, wanted)) == str(moved)


def wished_arguments(data: bytes) -> None:
    present, _separator, absent = data.decode("utf-8", "replace").partition("\0")
    try:
        wanted = wishes.read(present.split("\n"), absent.split("\n"))
    except KatagpuError:
        return
    line = tokens.parse("root=/dev/vda1 ro quiet iommu=off console=tty0")
    adjusted = wanted.adjusted(line)
    assert wanted.problems(adjusted) == ([], [])
    assert wanted.adjusted(adjusted) == adjusted


def grub_default(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        plain = grub_defaults.evaluate({"f": text})
        dropped = grub_defaults.evaluate({"f": text}, lambda item: item.key in ("quiet", "iommu"))
    except KatagpuError:
        return
    assert plain.texts == {"f": text}
    if plain.uncertain:
        return
    again = grub_defaults.evaluate(dropped.texts)
    names = grub_defaults.VARIABLES
    assert {name: again.values.get(name) for name in names} == {name: dropped.values.get(name) for name in names}
    if len(dropped.texts["f"]) == len(text):
        assert dropped.texts == plain.texts


def grub_default_edit(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        before = grub_defaults.evaluate({"f": text})
        edited = grub_defaults.with_tokens(text, grub_defaults.NORMAL, [PLAIN, WANTED])
    except KatagpuError:
        return
    if before.uncertain or not _closed(before.values.get(grub_defaults.NORMAL, "")):
        return
    if not text.endswith("\n") and not any(
        item.name == grub_defaults.NORMAL for item in grub_defaults.parse(text).assignments
    ):
        return  # What the last line says may go on in ours, such as a comment or a command.
    after = grub_defaults.evaluate({"f": edited})
    if grub_defaults.NORMAL not in after.values:
        assert set(text) & set("(&|") or any(word in text for word in _BLOCKS), "what is never closed, which is refused"
        return
    value = tokens.parse(after.values[grub_defaults.NORMAL])
    assert [token.text for token in value.tokens][-2:] == [PLAIN.text, WANTED.text]


def grub_drop_in(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        wanted = wishes.read(text.split("\n"), [])
    except KatagpuError:
        wanted = wishes.read([], [])
    rendered = drop_in.render(wanted.present, grub_defaults.NORMAL)
    assert [token.text for token in drop_in.read(rendered)] == [token.text for token in wanted.present]
    try:
        drop_in.read(f"{drop_in.MARKER}\n{text}")
    except KatagpuError:
        pass


def grub_configuration(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for entry in grub_cfg.entries(text):
        assert entry.kernel and entry.as_dict()["arguments"] == entry.arguments
    grub_env.assigned(text)


def loader_entry(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for field in bls.fields(text):
        assert text[field.start : field.end] == field.value
        assert bls.value(text, field.key) or not field.value or field != bls.fields(text)[0]
    for place, field in enumerate(bls.options(text)):
        changed = bls.with_value(text, field, "root=/dev/vda1 iommu=pt")
        assert [each.value for each in bls.options(changed)][place] == "root=/dev/vda1 iommu=pt"
        bls.expand(field.value, {"kernelopts": "ro"})
    bls.summary("/boot/loader/entries/a+3.conf", text, bls.value(text, "options"), "0" * 32)
    first = text.partition("\n")[0][:200]
    assert bls.order(f"/e/{first}.conf") == bls.order(f"/e/{first}.conf")
    generated = ostree.deployments({"/e/ostree-1.conf": text, "/e/ostree-2.conf": text[::-1]}, None)
    assert sum(entry["managed"] for entries in generated.values() for entry in entries) == 1
    ostree.is_pending(generated, first)


def grub_environment(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    before = grub_env.parse(text)
    assigned = before if text.startswith("# GRUB Environment Block\n") else {}
    try:
        block = grub_env.with_value(text, "kernelopts", "root=/dev/vda1 a\\b iommu=pt")
    except KatagpuError:
        return
    assert len(block.encode()) == grub_env.SIZE
    after = grub_env.parse(block)
    assert after.pop("kernelopts") == "root=/dev/vda1 a\\b iommu=pt"
    assigned.pop("kernelopts", None)
    assert after == assigned


def staged_deployment(data: bytes) -> None:
    try:
        gvariant.dictionary(data)
    except ValueError:
        assert not ostree.is_readable(data)
    ostree.deployments({}, data)


def _closed(text: str) -> bool:
    return text.count('"') % 2 == 0
