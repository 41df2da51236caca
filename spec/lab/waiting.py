"""Waiting, always for a limited time."""

import socket
import time


def wait_until(condition, timeout, what, interval=0.02):
    """The first true value of condition(); TimeoutError naming `what` when there is none."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {timeout} s")
        time.sleep(interval)


def port_open(address, port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def answers(address, port, greeting):
    """Whether the server has come as far as its event loop: a port is open before its hosts are all up."""
    try:
        with socket.create_connection((address, port), timeout=1) as probe:
            probe.sendall(greeting)
            return probe.recv(1) != b""
    except OSError:
        return False
