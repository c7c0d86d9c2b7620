"""Hosts of a network of the tests' own: each a network namespace, with its own address."""

import ctypes
import os
import secrets
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.services import require_namespaces

__all__ = ["Host", "Network", "socket_in"]

_CLONE_NEWNET = 0x40000000  # sched.h
_SUBNET = "10.213.77"


class Host(NamedTuple):
    """
    One host.

    Attributes:
        namespace: By what name ``ip netns`` knows it.
        address: That of its one interface, ``eth0``.
    """

    namespace: str
    address: str


class Network:
    """
    Hosts at one switch. Nothing of it can be seen from outside; two of them may have the same
    addresses.
    """

    def __init__(self) -> None:
        require_namespaces()
        self._name = f"sse-{secrets.token_hex(3)}"
        self._switch = f"{self._name}-switch"
        self._hosts: list[Host] = []
        try:
            _ip(f"netns add {self._switch}")
            _ip(f"-n {self._switch} link add switch type bridge")
            _ip(f"-n {self._switch} link set switch up")
        except BaseException:
            self.remove()
            raise

    def add_host(self, name: str) -> Host:
        """Add a host to the switch."""
        host = Host(f"{self._name}-{name}", f"{_SUBNET}.{len(self._hosts) + 1}")
        self._hosts.append(host)
        port = _port(host)
        _ip(f"netns add {host.namespace}")
        _ip(f"-n {host.namespace} link set lo up")
        _ip(f"-n {self._switch} link add {port} type veth peer eth0 netns {host.namespace}")
        _ip(f"-n {self._switch} link set {port} master switch up")
        _ip(f"-n {host.namespace} address add {host.address}/24 dev eth0")
        _ip(f"-n {host.namespace} link set eth0 up")
        return host

    def unplug(self, host: Host) -> None:
        """Pull its cable: what it sends goes nowhere, and nobody tells it so."""
        _ip(f"-n {self._switch} link set {_port(host)} down")

    def plug(self, host: Host) -> None:
        """Put its cable in again."""
        _ip(f"-n {self._switch} link set {_port(host)} up")

    def remove(self) -> None:
        """Take all of it away; its interfaces go with it."""
        for namespace in [*(host.namespace for host in self._hosts), self._switch]:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


def socket_in(namespace: str) -> socket.socket:
    """Return a socket of *namespace*: to where it belongs is settled when it is made."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(Path("/run/netns", namespace), os.O_RDONLY)
    try:
        _enter(other)
        try:
            return socket.socket()
        finally:
            _enter(own)
    finally:
        os.close(own)
        os.close(other)


def _enter(file: int) -> None:
    # Of this thread alone. Python has os.setns() from 3.12 on.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns() failed")


def _port(host: Host) -> str:
    return f"port-{host.address.rpartition('.')[2]}"


def _ip(arguments: str) -> None:
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {arguments}: {done.stderr.strip()}")
