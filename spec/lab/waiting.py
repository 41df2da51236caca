"""Waiting, always for a limited time."""

import socket
import time

PATIENCE = 20   # seconds: what a server certainly says, and soon, a busy one says late


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


def answers(address, port, greeting, timeout=10):
    """Whether the server has come as far as its event loop: a port is open before its hosts are all up, and what is sent waits until then.

    Asked once for each connection that the server will take: a short time-out would leave behind one for each time."""
    try:
        with socket.create_connection((address, port), timeout=timeout) as probe:
            probe.sendall(greeting)
            return probe.recv(1) != b""
    except OSError:
        return False


def knock(address, port, timeout=10):
    """Whether somebody listens there.  The server has taken the connection, and is done with it, when this returns: nothing of it is seen later."""
    try:
        with socket.create_connection((address, port), timeout=timeout) as probe:
            probe.settimeout(timeout)
            probe.shutdown(socket.SHUT_WR)
            while probe.recv(4096):
                pass
            return True
    except OSError:
        return False
