"""Configuration texts for nginx, as the tool and as a peer. Pure.

The peer does what anybody's nginx in front of a session does: HTTP/1.1 and keep-alive upstream,
Host and forwarding headers, WebSockets, no access log; and it streams bodies as the edge does,
instead of keeping them in files first, through buffers of the size of the edge's (its small
defaults halve its rate of transfer). Both serve any number of requests on one connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CONNECTIONS_MAX = 4096
_UPSTREAM_IDLE_MAX = 64  # more than any benchmark opens: none is dialled twice
_REQUESTS_MAX = 1_000_000_000

_FRAME = """
daemon off;
worker_processes 1;
pid {folder}/{name}.pid;
error_log stderr error;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_requests {requests};
    client_body_temp_path {folder}/{name}-bodies;
    proxy_temp_path {folder}/{name}-answers;
    {http}
}}
"""

_TOOL = """
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 "{body}"; }}
    }}
"""

_PROXY = """
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream tool {{
        server 127.0.0.1:{tool_port};
        keepalive {idle};
        keepalive_requests {requests};
    }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 0;
        location / {{
            proxy_pass http://tool;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            client_body_buffer_size 256k;
            proxy_buffer_size 16k;
            proxy_buffers 8 256k;
            proxy_busy_buffers_size 512k;
        }}
    }}
"""


def tool(folder: Path, port: int, body: str) -> str:
    """Return a server that answers everything with `body`, which may name nginx's variables."""
    return _framed(folder, "tool", _TOOL.format(port=port, body=body))


def proxy(folder: Path, port: int, tool_port: int) -> str:
    """Return a reverse proxy on `port` for the tool on `tool_port`."""
    http = _PROXY.format(
        port=port, tool_port=tool_port, idle=_UPSTREAM_IDLE_MAX, requests=_REQUESTS_MAX
    )
    return _framed(folder, "nginx", http)


def _framed(folder: Path, name: str, http: str) -> str:
    return _FRAME.format(
        folder=folder,
        name=name,
        connections=_CONNECTIONS_MAX,
        requests=_REQUESTS_MAX,
        http=http.strip(),
    )
