# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line: up, down, status and conveniences. A problem is one clear line, never a traceback."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.lab import api_nodes, parts, paths, processes, state
from tests.lab.errors import LabError
from tests.lab.machines import image, lifecycle, profiles

Progress = Callable[[str], None]
_print_lock = threading.Lock()


def say(text: str) -> None:
    """One progress line."""
    with _print_lock:
        print(f"lab | {text}", flush=True)


def _machine_progress(name: str) -> Progress:
    return lambda text: say(f"machine {name} | {text}")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Commands that start or end things take turns."""
    paths.ensure(paths.STATE)
    with open(paths.STATE / "command.lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another lab command is running; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _together(jobs: dict[str, Callable[[], None]]) -> None:
    """Run jobs side by side; raise the first problem after all have ended."""
    problems: list[Exception] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=guarded, args=(job,), name=name) for name, job in jobs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        for other in problems[1:]:
            say(f"also: {other}")
        raise problems[0]


def _cluster_up(progress: Progress, *, bare: bool = False) -> None:
    """Bare: nothing acts on what is in the API but the control plane's own controllers."""
    wanted = (
        ("control plane", "cluster_up"),
        ("stand-ins", "standins_up"),
        ("API-only nodes", "container_node_up"),
    )
    for part, function in wanted[:1] if bare else wanted:
        step = parts.call(part, function)
        if step is None:
            progress(f"{part} | not in this checkout, left out")
        else:
            step(progress)


def up(machines: Sequence[str], *, fresh: bool, bare: bool = False) -> None:
    """Everything, machines beside the control plane; agents are started once both are there. Bare: without stand-ins."""
    problem = image.prerequisites()
    if problem:
        raise LabError(problem)
    wanted = [lifecycle.profile_of(name).name for name in machines]
    began = time.monotonic()
    cluster_settled = threading.Event()
    cluster_failed = threading.Event()

    def cluster() -> None:
        try:
            _cluster_up(say, bare=bare)
        except BaseException:
            cluster_failed.set()
            raise
        finally:
            cluster_settled.set()

    def machine(name: str) -> None:
        lifecycle.machine_up(name, _machine_progress(name), fresh=fresh)
        push = parts.call("nodes", "push_agent")
        cluster_settled.wait()
        if push is not None and not cluster_failed.is_set():
            push(name, say)

    _together({"cluster": cluster, **{name: lambda name=name: machine(name) for name in wanted}})  # type: ignore[misc]
    say(f"up after {time.monotonic() - began:.0f} s")


def down() -> None:
    """End all that is recorded and remove what it wrote; caches, keys and logs stay."""
    end_standins = parts.call("stand-ins", "standins_down")
    if end_standins is not None and end_standins():
        say("stand-ins | ended")
    end_api_nodes = parts.call("API-only nodes", "api_nodes_down")
    if end_api_nodes is not None:
        end_api_nodes(say)
    for name in sorted(profiles.PROFILES):
        if lifecycle.machine_down(name):
            say(f"machine {name} | ended, its disk removed")
    step = parts.call("control plane", "cluster_down")
    if step is not None:
        step(say)
    for name in sorted(processes.running()):
        if processes.stop(name):
            say(f"{name} | ended")
    shutil.rmtree(paths.MACHINES, ignore_errors=True)
    state.save({"processes": {}, "machines": {}})
    say("down")


def gather_status() -> dict[str, Any]:
    """What runs, as data."""
    machines = [lifecycle.machine_status(profile) for profile in profiles.PROFILES.values()]
    result: dict[str, Any] = {"machines": machines, "processes": {}}
    for name, record in sorted(processes.running().items()):
        result["processes"][name] = {
            "pid": record["pid"],
            "rss_mib": processes.rss_kib(record["pid"]) // 1024,
            "uptime_seconds": round(processes.age_seconds(record)),
        }
    for key, part, function in (
        ("cluster", "control plane", "cluster_status"),
        ("standins", "stand-ins", "standins_status"),
    ):
        step = parts.call(part, function)
        result[key] = step() if step is not None else None
    supervisors = sum(row["rss_mib"] for name, row in result["processes"].items() if not name.startswith("machine-"))
    result["rss_mib"] = supervisors + sum(row.get("rss_mib", 0) for row in machines)
    return result


def _age(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def print_status(current: dict[str, Any]) -> None:
    """The same as a small table."""
    rows = [("what", "where", "state", "accel", "uptime", "memory", "pid")]
    for row in current["machines"]:
        if row["state"] == "up":
            details = (row["accelerator"], _age(row["uptime_seconds"]), f"{row['rss_mib']} MiB", str(row["pid"]))
        else:
            details = ("-", "-", "-", "-")
        rows.append((f"machine {row['name']}", row["address"], row["state"], *details))
    for name, row in current["processes"].items():
        if not name.startswith("machine-"):
            rows.append((name, "", "up", "-", _age(row["uptime_seconds"]), f"{row['rss_mib']} MiB", str(row["pid"])))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    cluster = current["cluster"]
    if cluster:
        nodes = ", ".join(
            f"{name} {'Ready' if ready == 'True' else 'NotReady'}" for name, ready in cluster["nodes"].items()
        )
        ready = "ready" if cluster["ready"] else "not running"
        print(f"API {cluster['server']}: {ready}; nodes: {nodes or 'none'}")
    print(f"memory in all: {current['rss_mib']} MiB (shared pages counted once per process)")


def _tool(name: str, pattern: str, arguments: Sequence[str]) -> None:
    found = sorted(paths.BIN.glob(pattern))
    if not found:
        raise LabError(f"{name} is not in the cache yet. Fix: python -m tests.lab cluster-up")
    os.environ["KUBECONFIG"] = str(paths.KUBECONFIG)
    os.execv(found[-1], [name, *arguments])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="A GPU cluster without a GPU.")
    commands = parser.add_subparsers(dest="command", required=True)
    names = sorted(profiles.PROFILES)
    bring_up = commands.add_parser("up", help="control plane, stand-ins, nodes and machines")
    bring_up.add_argument("--machines", nargs="*", default=["a10"], metavar="NAME", help=f"of: {', '.join(names)}")
    bring_up.add_argument("--fresh", action="store_true", help="machines start from an untouched disk")
    bring_up.add_argument("--bare", action="store_true", help="without stand-ins and the API-only node")
    commands.add_parser("down", help="end everything; caches stay")
    show = commands.add_parser("status", help="what runs")
    show.add_argument("--json", action="store_true")
    cluster = commands.add_parser("cluster-up", help="control plane, stand-ins and the API-only node")
    cluster.add_argument("--bare", action="store_true", help="the control plane alone, without any node")
    commands.add_parser("image", help="build the guests' base disk")
    commands.add_parser("prerequisites", help="which Debian packages are missing")
    node_up = commands.add_parser("node-up", help="an API-only node beside the container node")
    node_up.add_argument("name")
    one_up = commands.add_parser("machine-up", help="one machine")
    one_up.add_argument("name")
    one_up.add_argument("--fresh", action="store_true", help="from an untouched disk")
    one_down = commands.add_parser("machine-down", help="end one machine and remove its disk")
    one_down.add_argument("name")
    shell = commands.add_parser("ssh", help="a shell or a command on a machine")
    shell.add_argument("name")
    shell.add_argument("remote", nargs=argparse.REMAINDER)
    for tool in ("kubectl", "helm"):
        commands.add_parser(tool, help=f"{tool} on the lab's cluster", add_help=False)
    return parser


def _ssh(name: str, remote: Sequence[str]) -> None:
    profile = lifecycle.profile_of(name)
    if not lifecycle.is_up(profile):
        raise LabError(f"machine {profile.name} is not up. Fix: python -m tests.lab machine-up {profile.name}")
    # A single word is a shell command as typed; several are an argument list.
    words = list(remote) if len(remote) == 1 else [shlex.join(remote)] if remote else []
    argv = lifecycle.ssh_command(profile, words)
    os.execvp(argv[0], argv)


def _dispatch(options: argparse.Namespace) -> int:
    if options.command == "status":
        current = gather_status()
        print(json.dumps(current, indent=2)) if options.json else print_status(current)
        return 0
    if options.command == "prerequisites":
        problem = image.prerequisites()
        print(problem or "nothing is missing")
        return 1 if problem else 0
    if options.command == "ssh":
        _ssh(options.name, options.remote)
    with _alone():
        if options.command == "up":
            up(options.machines, fresh=options.fresh, bare=options.bare)
        elif options.command == "down":
            down()
        elif options.command == "cluster-up":
            _cluster_up(say, bare=options.bare)
        elif options.command == "node-up":
            api_nodes.api_node_up(options.name, say)
        elif options.command == "image":
            image.build(say)
        elif options.command == "machine-up":
            name = lifecycle.profile_of(options.name).name
            lifecycle.machine_up(name, _machine_progress(name), fresh=options.fresh)
        elif options.command == "machine-down":
            name = lifecycle.profile_of(options.name).name
            say(f"machine {name} | {'ended, its disk removed' if lifecycle.machine_down(name) else 'was not up'}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 when it did what was asked."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words and words[0] == "kubectl":
            _tool("kubectl", "kubernetes-v*/kubectl", words[1:])
        elif words and words[0] == "helm":
            _tool("helm", "helm-v*/helm", words[1:])
        return _dispatch(_parser().parse_args(words))
    except BrokenPipeError:
        # Somebody piped us into head; Python would complain again while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as problem:
        # The other parts have error classes of their own; anything else is a bug and keeps its traceback.
        if not type(problem).__module__.startswith("tests.lab."):
            raise
        print(f"lab: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; what was started stays. Fix: python -m tests.lab down", file=sys.stderr)
        return 130
