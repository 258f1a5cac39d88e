# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Container logs on disk, and the kubelet's HTTPS endpoint that `kubectl logs` reaches through the API server."""

from __future__ import annotations

import http.server
import shutil
import ssl
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .behaviour import Pod
from .config import Config


class Logs:
    """One file per container and restart, in the kubelet's layout: NAMESPACE_POD_UID/CONTAINER/RESTARTS.log."""

    def __init__(self, root: Path) -> None:
        self._directory = root / "var/log/pods"

    def directory(self, pod: Pod) -> Path:
        meta = pod["metadata"]
        return self._directory / f"{meta['namespace']}_{meta['name']}_{meta['uid']}"

    def path(self, pod: Pod, container: str, restarts: int) -> Path:
        return self.directory(pod) / container / f"{restarts}.log"

    def begin(self, pod: Pod, container: str, restarts: int) -> None:
        path = self.path(pod, container, restarts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.with_name(f"{restarts - 2}.log").unlink(missing_ok=True)

    def add(self, pod: Pod, container: str, restarts: int, text: str) -> None:
        if text:
            self.begin(pod, container, restarts)
            with open(self.path(pod, container, restarts), "a", encoding="utf-8") as handle:
                handle.write(text if text.endswith("\n") else text + "\n")

    def keep_only(self, uids: set[str]) -> None:
        """Removes the logs of pods that were deleted while the agent was away."""
        for directory in self._directory.glob("*_*_*"):
            if directory.name.rpartition("_")[2] not in uids:
                shutil.rmtree(directory, ignore_errors=True)

    def remove(self, pod: Pod) -> None:
        shutil.rmtree(self.directory(pod), ignore_errors=True)


def tail(data: bytes, lines: int | None, limit: int | None) -> bytes:
    """The last `lines` lines, and of those the first `limit` bytes, as the API's parameters mean it."""
    if lines is not None:
        kept = data.splitlines(keepends=True)
        data = b"".join(kept[len(kept) - lines :]) if 0 < lines < len(kept) else (data if lines else b"")
    return data[:limit] if limit is not None else data


# Returns the path of a container's current (or previous) log and whether the container still runs; None: no such one.
Find = Callable[[str, str, str, bool], "tuple[Path, Callable[[], bool]] | None"]


def serve(config: Config, find: Find) -> threading.Thread:
    """Serves /containerLogs/NAMESPACE/POD/CONTAINER to callers with a client certificate of the lab's authority."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"  # the end of the connection is the end of the log

        def do_GET(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            words = parts.path.strip("/").split("/")
            query = dict(urllib.parse.parse_qsl(parts.query))
            if words == ["healthz"]:
                self._answer(200, b"ok")
                return
            if len(words) != 4 or words[0] != "containerLogs":
                self._answer(404, b"404 page not found\n")
                return
            found = find(words[1], words[2], words[3], query.get("previous") == "true")
            if found is None:
                self._answer(404, f"container {words[3]} of pod {words[1]}/{words[2]} is not here\n".encode())
                return
            path, alive = found
            data = path.read_bytes() if path.is_file() else b""
            number = {key: int(query[key]) for key in ("tailLines", "limitBytes") if query.get(key, "").isdigit()}
            self._answer(200, tail(data, number.get("tailLines"), number.get("limitBytes")))
            if query.get("follow") == "true":
                self._follow(path, len(data), alive)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def _follow(self, path: Path, position: int, alive: Callable[[], bool]) -> None:
            last = False
            while not last:
                last = not alive()
                if path.is_file():
                    with open(path, "rb") as handle:
                        handle.seek(position)
                        data = handle.read()
                    position += len(data)
                    self.wfile.write(data)
                    self.wfile.flush()
                time.sleep(0 if last else 0.5)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            print(f"logs: {client_address}: {sys.exc_info()[1]}", file=sys.stderr, flush=True)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=config.ca_file)
    context.load_cert_chain(config.certificate_file, config.key_file)
    context.verify_mode = ssl.CERT_REQUIRED
    server = Server((config.bind, config.port), Handler)
    # The handshake belongs into the connection's thread: a silent client must not hold up the others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, name="logs", daemon=True)
    thread.start()
    return thread
