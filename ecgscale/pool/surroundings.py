"""What Ray needs around it: an address where a cluster answers, a token, and a folder short enough for its sockets.

Nothing here imports ray or torch, which take seconds: what is wrong is said before.
"""

import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_REACH_SECONDS = 10.0
_HELLO_SECONDS = 8.0
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # and empty settings (RFC 9113, 3.4)
_SETTINGS = 4  # the kind of frame that a server of HTTP/2, and so of gRPC and Ray, says first
_SOCKET_BYTES = 107  # that the system allows for the path of a Unix socket (unix(7), less the closing zero)
_SESSION = "/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store.00"  # what Ray adds to its folder
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")


class Infeasible(RuntimeError):
    """The pool does not have what was asked for, or there is none."""


def address_of(asked: str | None) -> str | None:
    """HOST:PORT of the cluster that somebody named (``--address``, or RAY_ADDRESS); None if nobody has.

    "auto" is the cluster that RAY_ADDRESS names, else the one that ``ray start`` started on this machine last, and no
    other that may run here: those are other people's, or other launches' own. Raises ValueError for what is no address,
    Infeasible if there is none to be found.
    """
    told = os.environ.get("RAY_ADDRESS") or None
    address = told if asked in (None, "auto") else asked
    if asked == "auto" and address in (None, "auto"):
        file = _temporary() / "ray" / "ray_current_cluster"  # where `ray start` writes it
        address = file.read_text().strip() if file.is_file() else ""
        if not address:
            raise Infeasible("no Ray cluster was started on this machine (ray start --head); name one: HOST:PORT")
    if address in (None, "local"):
        return None
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        where = "RAY_ADDRESS" if address == told and asked in (None, "auto") else "--address"
        raise ValueError(f"{where} {address}: it has to be HOST:PORT, or auto")
    return address


def reach(address: str) -> None:
    """Raise Infeasible if nothing listens at an address HOST:PORT, or what does is no server of HTTP/2, as Ray's are.

    Ray itself would go on asking for minutes.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    named = "; RAY_ADDRESS names it" if address == os.environ.get("RAY_ADDRESS") else ""
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS) as there:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("", "0", "false"):
                _greet(there, address, named)
    except OSError as error:
        raise Infeasible(f"no Ray cluster answers at {address}: {error.strerror or error}{named}") from None


def _greet(there: socket.socket, address: str, named: str) -> None:
    there.settimeout(_HELLO_SECONDS)
    try:
        there.sendall(_HELLO)
        answer = there.recv(9)
    except TimeoutError:
        waited = f"does not answer as Ray does within {_HELLO_SECONDS:g} s"
        raise Infeasible(f"what listens at {address} {waited}{named}") from None
    except ConnectionError:
        answer = b""
    if answer[3:4] != bytes((_SETTINGS,)):
        raise Infeasible(f"what listens at {address} is no Ray cluster{named}")


def token_there() -> bool:
    """Whether there is a token that Ray would take for its authentication.

    Raises ValueError if RAY_AUTH_TOKEN_PATH names a file that holds none: Ray would abort this process.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    if named := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        if _holds_words(Path(named)):
            return True
        raise ValueError(f"RAY_AUTH_TOKEN_PATH {named}: that file cannot be read or is empty; name one with a token")
    try:
        return _holds_words(Path.home() / ".ray" / "auth_token")
    except RuntimeError:  # nobody knows where home is
        return False


def give_token() -> None:
    """See that a cluster of this launch's own has a token: the user's, else a new one that nobody else learns.

    It stays in this process' environment, for Ray reads it once; so a home that cannot be written needs no mending.
    """
    if not token_there():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextmanager
def sockets_folder() -> Iterator[str | None]:
    """Where a cluster of this launch's own keeps its session: None for Ray's usual place, if that will do.

    Else a new short folder, which goes when the cluster does. Raises Infeasible if there is no place for one.
    """
    usual = _temporary()
    if _fits(usual) and _may_be_written(usual / "ray" if (usual / "ray").exists() else usual):
        yield None
        return
    for place in _SHORT:
        if _may_be_written(Path(place)):
            with tempfile.TemporaryDirectory(prefix="ecgscale-", dir=place, ignore_cleanup_errors=True) as folder:
                yield folder
            return
    raise Infeasible(f"Ray needs a short folder that can be written: {usual} is none; set RAY_TMPDIR to one")


def _temporary() -> Path:
    """The folder in which Ray makes its own."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp")


def _fits(folder: Path) -> bool:
    return len(os.fsencode(f"{folder}{_SESSION}")) <= _SOCKET_BYTES


def _may_be_written(folder: Path) -> bool:
    """Whether a file can be made there: asked by making one, for permissions do not tell it all."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _holds_words(file: Path) -> bool:
    with suppress(OSError, UnicodeDecodeError):
        return bool(file.read_text().strip())
    return False
