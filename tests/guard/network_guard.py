"""Restricts a Python process to this machine: any use of another address or host name raises `NetworkUsed`."""

import ipaddress
import sys

ADDRESS_AT = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.bind": 1}
HOST_AT = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.gethostbyaddr": 0}


class NetworkUsed(BaseException):
    """Not a subclass of `Exception`, so code that handles network failures does not hide it."""


def refuse(event, args):
    """Refuse other hosts; Python calls this audit hook before it connects, binds or resolves a name."""
    if event in ADDRESS_AT:
        address = args[ADDRESS_AT[event]]
        host = address[0] if isinstance(address, tuple) else "localhost"  # a path: a local socket
    elif event in HOST_AT:
        host = args[HOST_AT[event]]
    else:
        return
    if not is_loopback(host):
        raise NetworkUsed(f"{event}: expected the loopback interface, received {host!r}")


def is_loopback(host):
    """Whether a host, in any form that sockets accept, is the loopback interface of this machine."""
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


sys.addaudithook(refuse)
