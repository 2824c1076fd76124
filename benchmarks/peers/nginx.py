"""nginx with `proxy_pass` and keep-alive: it forwards bytes and does nothing else, the floor of what HTTP costs."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.parent import program
from benchmarks.peers.peer import Unavailable, clean_environ, free_port, until_answers
from benchmarks.target import HttpFront, Target

_CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream stub {{ server 127.0.0.1:{stub}; keepalive 128; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 1000000;
        location / {{
            proxy_pass http://stub;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


class Nginx:
    """See `Peer`."""

    name = "nginx"

    async def install(self) -> None:
        """It is taken where the machine has it."""
        if shutil.which("nginx") is None:
            raise Unavailable("not in PATH")

    @asynccontextmanager
    async def run(self, folder: Path, stub_port: int) -> AsyncIterator[Target]:
        """See `Peer`."""
        port = free_port()
        config, log = folder / "nginx.conf", folder / "nginx.log"
        config.write_text(_CONFIG.format(folder=folder, stub=stub_port, port=port))
        words = ("nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config))
        async with program(*words, log=log, environ=clean_environ(), cwd=folder) as process:
            await until_answers(process, f"http://127.0.0.1:{port}/", log)
            yield HttpFront("127.0.0.1", port, "/v1/chat/completions").target(self.name, process.pid)
