"""A registry of container images on this machine, as far as a pull by digest needs it; it serves one image of the daemon under any name."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tarfile
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar"


class Registry:
    """`address`: where it listens; `digest`: of the manifest. `lies`: serve another manifest than the digest says. `asked`: every path."""

    def __init__(self, saved: Path, folder: Path) -> None:
        self.lies = False
        self.asked: list[str] = []
        self._blobs: dict[str, Path] = {}
        with tarfile.open(saved) as tar:
            [entry] = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
            parts = [self._blob(tar, name, folder) for name in (entry["Config"], *entry["Layers"])]
        config, layers = parts[0], parts[1:]
        manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": CONFIG, **config}}
        manifest["annotations"] = {"nonce": uuid.uuid4().hex}  # the daemon keeps manifests that it has seen, by their digest
        self.manifest = json.dumps({**manifest, "layers": [{"mediaType": LAYER, **each} for each in layers]}).encode()
        self.digest = f"sha256:{hashlib.sha256(self.manifest).hexdigest()}"
        self.address = ""

    def _blob(self, tar: tarfile.TarFile, name: str, folder: Path) -> dict[str, Any]:
        path, digest = folder / str(len(self._blobs)), hashlib.sha256()
        opened = tar.extractfile(name)
        assert opened is not None
        with path.open("wb") as file:
            while piece := opened.read(1 << 20):
                digest.update(piece)
                file.write(piece)
        self._blobs[f"sha256:{digest.hexdigest()}"] = path
        return {"digest": f"sha256:{digest.hexdigest()}", "size": path.stat().st_size}

    def answer(self, path: str) -> tuple[str, bytes | Path] | None:
        self.asked.append(path)
        if path == "/v2/":
            return "application/json", b"{}"
        if "/manifests/" in path:
            return MANIFEST, self.manifest.replace(b"{", b'{"other": 1, ', 1) if self.lies else self.manifest
        found = self._blobs.get(path.rpartition("/")[2])
        return None if found is None else ("application/octet-stream", found)

    @contextlib.contextmanager
    def serving(self) -> Iterator[Registry]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                found = registry.answer(self.path)
                kind, content = found or ("text/plain", b"")
                size = content.stat().st_size if isinstance(content, Path) else len(content)
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(size))
                self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
                self.end_headers()
                if self.command == "GET" and isinstance(content, Path):
                    with content.open("rb") as file:
                        while piece := file.read(1 << 20):
                            self.wfile.write(piece)
                elif self.command == "GET":
                    self.wfile.write(content)

            do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
