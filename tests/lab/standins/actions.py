# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reconcile wants done, as data: the reconcile functions are pure, cluster.py carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Create:
    body: Object


@dataclass(frozen=True)
class Patch:
    """A JSON merge patch."""

    kind: str
    name: str
    patch: Object
    namespace: str = ""
    subresource: str = ""


@dataclass(frozen=True)
class Replace:
    """A whole object in place of the one that is there."""

    body: Object


@dataclass(frozen=True)
class Delete:
    kind: str
    name: str
    namespace: str = ""


@dataclass(frozen=True)
class Note:
    """A line in the log of the stand-in."""

    text: str


@dataclass(frozen=True)
class Requeue:
    """When upstream would look again without an event."""

    seconds: int


Action = Create | Patch | Replace | Delete | Note | Requeue


def labels_of(item: Object) -> dict[str, str]:
    """Labels of an object, never None."""
    return dict(item.get("metadata", {}).get("labels") or {})


def matches(labels: dict[str, str], selector: dict[str, str]) -> bool:
    """Whether all labels of the selector are there with their value."""
    return all(labels.get(key) == wanted for key, wanted in selector.items())


def owner_of(item: Object) -> list[Object]:
    """Owner references that make the garbage collector remove what belongs to the object."""
    return [
        {
            "apiVersion": item["apiVersion"],
            "kind": item["kind"],
            "name": item["metadata"]["name"],
            "uid": item["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
