"""Cutting connections by their addresses."""

import socket

import pytest

from django_sse.sockets import addresses_of, reset


@pytest.fixture
def pair():
    """A client's and a server's end of one TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        served, _ = listener.accept()
    with client, served:
        yield client, served


def test_reset_cuts_a_connection_that_has_bytes_left_to_send(pair):
    """The client hears of the end though it has not read, and the server's end is dead."""
    client, served = pair
    served.setblocking(False)
    try:
        while True:
            served.send(b"x" * 65_536)
    except BlockingIOError:
        pass
    assert reset({(client.getsockname(), served.getsockname())}) == 1
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        served.send(b"x")


def test_reset_leaves_every_other_connection_alone(pair):
    """A connection of another client goes on."""
    client, served = pair
    host, port = client.getsockname()
    assert reset({((host, port + 1), served.getsockname())}) == 0
    served.sendall(b"still here")
    assert client.recv(100) == b"still here"


def test_reset_passes_over_files_and_unix_sockets():
    """What has no address is no reason to fail."""
    left, right = socket.socketpair()
    with left, right:
        assert reset({(("127.0.0.1", 1), ("127.0.0.1", 2))}) == 0


@pytest.mark.parametrize(
    ("scope", "connection"),
    [
        (
            {"client": ("1.2.3.4", 5), "server": ("6.7.8.9", 80)},
            (("1.2.3.4", 5), ("6.7.8.9", 80)),
        ),
        (
            {"client": ["1.2.3.4", "5"], "server": ["6.7.8.9", "80"]},
            (("1.2.3.4", 5), ("6.7.8.9", 80)),
        ),
        ({"client": None, "server": ("6.7.8.9", 80)}, None),
        ({"client": ("1.2.3.4", 5), "server": ("/run/app.sock", None)}, None),
        (
            {
                "http_version": "1.0",
                "client": ("1.2.3.4", 5),
                "server": ("6.7.8.9", 80),
            },
            (("1.2.3.4", 5), ("6.7.8.9", 80)),
        ),
        # It carries other requests, too.
        (
            {"http_version": "2", "client": ("1.2.3.4", 5), "server": ("6.7.8.9", 80)},
            None,
        ),
        ({}, None),
        (None, None),
    ],
)
def test_addresses_of_reads_the_addresses_that_servers_give(scope, connection):
    """Ports may be strings; on a unix socket, or with no scope, there is no connection."""
    assert addresses_of(scope) == connection
