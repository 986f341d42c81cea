"""PYTHONPATH=netguard: a Python process that looks for a network, children included, says so and ends."""

import os
import socket
import sys

WATCHED = (
    "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname",
    "socket.gethostbyaddr", "socket.getnameinfo",
)  # fmt: skip


def _watch(event, arguments):
    if event not in WATCHED:
        return
    if isinstance(arguments[0], socket.socket) and arguments[0].family == getattr(socket, "AF_UNIX", None):
        return
    if event == "socket.bind" and tuple(arguments[1][:2]) == ("::1", 0):
        return  # urllib3, which MONAI loads, tries once whether there is IPv6; it neither listens nor connects
    with open(os.environ["NETGUARD_LOG"], "a") as log:  # noqa: PTH123 - nothing more may be imported here
        log.write(f"{event} {arguments[1:]} {sys.argv}\n")
    os._exit(98)


sys.addaudithook(_watch)
