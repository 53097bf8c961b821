"""Takes gunicorn's socket as simple-websocket does, and echoes what comes on it."""

from avatar_telemetry import instrument


def echo(environ, start_response):
    if "HTTP_UPGRADE" not in environ:
        start_response("426 Upgrade Required", [("Content-Length", "0")])
        return []
    connection = environ["gunicorn.socket"]
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n")
    while data := connection.recv(1024):
        connection.sendall(data)
    connection.close()
    raise StopIteration


application = instrument(echo)
