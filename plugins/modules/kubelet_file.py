#!/usr/bin/python
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: kubelet_file
short_description: Read the kubelet's configuration files, or replace one that is unchanged
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Without O(path) it reads what decides about the kubelet's configuration, and changes nothing.
  - With O(path) it replaces one file, but only if its content still has the digest of what was read.
  - It knows nothing of YAML, because hosts need not have a parser. M(katagpu.cluster.kubelet_config) decides what to write.
  - Where the kubelet runs, C(/run/katagpu/kubelet-restart.json) notes that it has not read the file yet. The next boot removes the note.
extends_documentation_fragment:
  - katagpu.cluster.attributes
  - katagpu.cluster.root
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - M(katagpu.cluster.kubelet_config) shows the difference.
  idempotent:
    support: full
options:
  path:
    description: The file to replace. Nothing means that the module only reads.
    type: path
  content:
    description: The new content of the whole file.
    type: str
  sha256:
    description: SHA-256 digest of the file as it was read. Nothing means that there must be no such file.
    type: str
  mode:
    description: Mode of a file that is created. An existing file keeps its mode and owner.
    type: str
    default: "0644"
  backup:
    description: Whether a copy of the old file is kept beside it.
    type: bool
    default: true
seealso:
  - module: katagpu.cluster.kubelet_config
"""

EXAMPLES = r"""
---
- name: Read what decides about the kubelet
  katagpu.cluster.kubelet_file:
  become: true
  register: kubelet
"""

RETURN = r"""
kubelet:
  description: As RV(katagpu.cluster.host_facts#module:facts.kubelet).
  returned: without O(path)
  type: dict
sha256:
  description: Digest of the file after the change.
  returned: with O(path)
  type: str
backup_file:
  description: Where the old file was copied to, empty without a copy.
  returned: with O(path)
  type: str
"""

import hashlib

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet import facts, write
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "path": {"type": "path"},
            # A configuration may hold credentials, and arguments go to the journal.
            "content": {"type": "str", "no_log": True},
            "sha256": {"type": "str"},
            "mode": {"type": "str", "default": "0644"},
            "backup": {"type": "bool", "default": True},
        },
        required_by={"path": ["content"]},
        supports_check_mode=True,
    )
    options = module.params
    root = HostRoot(options["root"])
    if not options["path"]:
        module.exit_json(changed=False, kubelet=facts.read_facts(root))
    sha256 = hashlib.sha256(options["content"].encode("utf-8")).hexdigest()
    if facts.digest(root, options["path"]) == sha256:
        module.exit_json(changed=False, sha256=sha256, backup_file="")
    done = {"backup_file": ""}
    if not module.check_mode:
        try:
            done = write.replace(
                root,
                options["path"],
                options["content"],
                options["sha256"],
                int(options["mode"], 8),
                module.backup_local if options["backup"] else None,
            )
        except KatagpuError as error:
            module.fail_json(msg=str(error))
        except OSError as error:
            module.fail_json(msg=f"{options['path']} cannot be written: {error}")
    module.exit_json(changed=True, sha256=sha256, **done)


if __name__ == "__main__":
    main()
