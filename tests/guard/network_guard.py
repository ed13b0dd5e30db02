"""Keeps a Python process on this machine: whoever reaches for another address or name gets a `NetworkUsed`."""

import ipaddress
import sys

ADDRESS_AT = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.bind": 1}
HOST_AT = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.gethostbyaddr": 0}


class NetworkUsed(BaseException):
    """No `Exception`: code that makes the best of a failing network must not hide it."""


def refuse(event, args):
    """An audit hook, which Python calls before it opens, binds or looks up anything."""
    if event in ADDRESS_AT:
        address = args[ADDRESS_AT[event]]
        host = address[0] if isinstance(address, tuple) else "localhost"  # a path: a socket of this machine
    elif event in HOST_AT:
        host = args[HOST_AT[event]]
    else:
        return
    if not is_loopback(host):
        raise NetworkUsed(f"{event}: expected the loopback interface, received {host!r}")


def is_loopback(host):
    """Whether a host, as sockets take it, is this machine by its loopback interface."""
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


sys.addaudithook(refuse)
