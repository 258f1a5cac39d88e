# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure comparisons of values, schemas and objects. Each returns sentences, none where nothing is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

# Below these keys a chart takes whatever Kubernetes takes.
FREE = ("nodeSelector", "tolerations")


def leaves(content: Any, prefix: str = "") -> set[str]:
    """Dotted paths of all values; an empty mapping is one."""
    if not isinstance(content, Mapping) or not content:
        return {prefix}
    return {leaf for key, value in content.items() for leaf in leaves(value, f"{prefix}.{key}" if prefix else str(key))}


def at(content: Any, path: str) -> Any:
    """A value by its dotted path, nothing where it is absent."""
    for key in path.split("."):
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def unknown_keys(given: Any, chart: Any, prefix: str = "") -> Iterator[str]:
    """Keys that are given and that the chart's own values do not have. Below an empty mapping the chart takes anything."""
    for key, value in given.items():
        path = f"{prefix}{key}"
        if key not in chart:
            yield f"{path} is set by us, and the chart has no such key"
        elif isinstance(value, Mapping) and isinstance(chart[key], Mapping) and chart[key] and path not in FREE:
            yield from unknown_keys(value, chart[key], f"{path}.")


def fact_keys(facts: Collection[str], chart: Mapping[str, Any], leave_out: Collection[str] = ()) -> Iterator[str]:
    """The keys of a fact table against the chart, in the top-level blocks that the table has."""
    blocks = {key.partition(".")[0] for key in facts}
    have = leaves({key: value for key, value in chart.items() if key in blocks and key not in leave_out})
    yield from (f"{key} is in the fact table and not in the chart" for key in sorted(set(facts) - have))
    yield from (f"{key} is in the chart and not in the fact table" for key in sorted(have - set(facts)))


def unequal(what: str, ours: Any, theirs: Any) -> Iterator[str]:
    """Two values that are to be the same."""
    if ours != theirs:
        yield f"{what}: ours {ours!r}, upstream's {theirs!r}"


def schema_of(crd: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAPI schema of the stored version of a CRD."""
    (stored,) = [one for one in crd["spec"]["versions"] if one["storage"]]
    schema: dict[str, Any] = stored["schema"]["openAPIV3Schema"]
    return schema


def schema_at(schema: Mapping[str, Any], path: str) -> Any:
    """The part of a schema that describes a field, nothing where there is none."""
    found: Any = schema
    for key in path.split("."):
        found = (found.get("properties") or {}).get(key) if isinstance(found, Mapping) else None
    return found


def misfits(value: Any, schema: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """What of an object its schema does not know, or does not allow."""
    if isinstance(value, Mapping):
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            return
        known, more = schema.get("properties"), schema.get("additionalProperties")
        filled = {key for key, inner in (known or {}).items() if "default" in inner}
        missing = set(schema.get("required") or ()) - set(value) - filled
        yield from (f"{where}.{key} is required" for key in sorted(missing))
        for key, inner in value.items():
            if known is not None and key in known:
                yield from misfits(inner, known[key], f"{where}.{key}")
            elif isinstance(more, Mapping):
                yield from misfits(inner, more, f"{where}.{key}")
            elif known is not None and not more:
                yield f"{where}.{key} is not in the schema"
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from misfits(inner, schema.get("items") or {}, f"{where}[{index}]")
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}, allowed are {', '.join(map(str, schema['enum']))}"


def enums(ours: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Enumerations of ours against those of the schema of a ClusterPolicy."""
    for path, allowed in ours.items():
        field = schema_at(schema, path if path.startswith("status.") else f"spec.{path}")
        if field is None:
            yield f"{path} is not in the schema"
        else:
            yield from unequal(path, list(allowed), field.get("enum"))


def image_of(block: Any, application: str) -> str:
    """The image that a chart puts together from a block of its values."""
    if "reference" in block:
        return f"{block['reference']}:{block.get('tag') or application}"
    tag = block.get("version") or block.get("tag") or application
    repository, name = block.get("repository", ""), block.get("image")
    return f"{repository}/{name}:{tag}" if name else f"{repository}:{tag}"


def operand(ours: Mapping[str, Any], daemonsets: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """An operand of the release data against the DaemonSets in the assets of the operator."""
    name = ours["daemonset"]
    if name not in daemonsets:
        yield f"{name}: no asset has a DaemonSet of this name"
        return
    spec = daemonsets[name]["spec"]
    pod = spec["template"]
    yield from unequal(f"{name}: selector", ours["pod_selector"], spec["selector"]["matchLabels"])
    for key, value in ours["pod_selector"].items():
        yield from unequal(f"{name}: pod label {key}", value, (pod["metadata"].get("labels") or {}).get(key))
    yield from unequal(f"{name}: node selector", {ours["deploy_label"]: "true"}, pod["spec"].get("nodeSelector"))
