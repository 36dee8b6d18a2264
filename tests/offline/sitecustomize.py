"""On the path of a run that must not need a network: whatever reaches beyond this machine is noted and refused."""

import ipaddress
import os
import socket
import sys


def _beyond(host: object) -> bool:
    text = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    try:
        return not ipaddress.ip_address(text).is_loopback and text not in ("0.0.0.0", "::")  # noqa: S104
    except ValueError:
        return text not in ("localhost", socket.gethostname())


def _refuse(event: str, given: tuple) -> None:
    if event in ("socket.connect", "socket.sendto") and isinstance(given[1], tuple):
        host = given[1][0]
    elif event == "socket.getaddrinfo":
        host = given[0]
    else:
        return
    if _beyond(host):
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{event} {host}\n")
        raise ConnectionRefusedError(f"no network here: {event} {host}")


sys.addaudithook(_refuse)
