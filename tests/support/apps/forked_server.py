"""A plain fork server: processes that share a listening socket, without any hook.

``python -m forked_server PORT PROCESSES module:NAME``; SIGTERM ends all of them.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from pkgutil import resolve_name
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer


class Silent(WSGIRequestHandler):
    def log_message(self, format, *args):
        """A request is no news."""


def serve(listener, application):
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    server = WSGIServer(listener.getsockname(), Silent, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_name, server.server_port = listener.getsockname()
    server.setup_environ()
    server.set_app(application)
    server.serve_forever(0.05)


def main(port, processes, name):
    listener = socket.create_server(("127.0.0.1", int(port)))
    application = resolve_name(name)
    children = []
    for _ in range(int(processes)):
        child = os.fork()
        if child == 0:
            serve(listener, application)
        children.append(child)

    def end(number, frame):
        for each in children:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    for each in children:
        os.waitpid(each, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
