"""The guard of the tests: no process that they start can use more than the loopback interface."""

import asyncio
import socket
import subprocess
import sys
import urllib.request

import network_guard
import pytest

ELSEWHERE = "192.0.2.1"  # reserved for documentation (RFC 5737), so no host has it


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection((ELSEWHERE, 80), timeout=0.1),
        lambda: socket.create_connection(("example.invalid", 80), timeout=0.1),
        lambda: socket.gethostbyname("example.invalid"),
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", (ELSEWHERE, 53)),
        lambda: socket.socket().bind(("0.0.0.0", 0)),
        lambda: socket.socket().bind(("", 0)),
        lambda: urllib.request.urlopen(f"http://{ELSEWHERE}/", timeout=0.1),
        lambda: asyncio.run(asyncio.open_connection(ELSEWHERE, 80)),
    ],
    ids=["address", "name", "lookup", "datagram", "bind-all", "bind-any", "url", "asyncio"],
)
def test_other_addresses_and_names_are_refused(reach):
    with pytest.raises(network_guard.NetworkUsed, match="expected the loopback interface"):
        reach()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_the_loopback_interface_can_be_used(host):
    family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as server, socket.socket(family) as client:
        try:
            server.bind(address)
        except OSError:
            pytest.skip(f"this machine has no {host}")
        server.listen()
        client.connect(server.getsockname())


@pytest.mark.parametrize("depth", [1, 2])
def test_child_processes_and_their_children_are_guarded(depth):
    code = f"import socket; socket.socket().connect(({ELSEWHERE!r}, 80))"
    for _ in range(depth - 1):
        code = (
            f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {code!r}]).returncode)"
        )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert process.returncode == 1
    assert "NetworkUsed: socket.connect" in process.stderr.splitlines()[-1]


def test_requests_in_a_program_are_guarded():
    """The downloader uses this library, which converts most exceptions to its own."""
    code = f"import requests; requests.get('http://{ELSEWHERE}/', timeout=0.1)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "NetworkUsed: socket.getaddrinfo" in process.stderr.splitlines()[-1]
