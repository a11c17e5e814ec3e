"""Pairs of connected loopback sockets and what tests do with them."""

import asyncio
import os
import socket
import struct


def tcp_pair(*, sndbuf: int = 0, rcvbuf: int = 0) -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection, both non-blocking.

    Args:
        sndbuf, rcvbuf: bytes of kernel buffer for each end; 0 leaves the kernel's choice.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.socket()
        for sock in (server, near):
            if rcvbuf:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            if sndbuf:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        near.connect(server.getsockname())
        far, _ = server.accept()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def send(sock: socket.socket, data: bytes) -> None:
    await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(sock, data), 30)


async def recv(sock: socket.socket, limit: int = 65536) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, limit), 30)


async def recv_exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = await recv(sock, min(1 << 18, size - len(data)))
        assert chunk, f"the stream ended after {len(data)} of {size} bytes"
        data += chunk
    return bytes(data)


async def recv_all(sock: socket.socket) -> bytes:
    data = bytearray()
    while chunk := await recv(sock, 1 << 18):
        data += chunk
    return bytes(data)


async def recv_until_reset(sock: socket.socket, *, pause: float = 0.0) -> bytes:
    """All that comes before the reset, which must come.

    Args:
        pause: seconds after each piece: a slow reader.
    """
    data = bytearray()
    try:
        while chunk := await recv(sock, 1 << 14 if pause else 1 << 18):
            data += chunk
            await asyncio.sleep(pause)
    except ConnectionResetError:
        return bytes(data)
    raise AssertionError(f"an end of stream came after {len(data)} bytes, and no reset")


def fill(sock: socket.socket, chunk: bytes = b"x" * 65536) -> int:
    """Send until the kernel takes no more; how many bytes it took."""
    sent = 0
    while True:
        try:
            sent += sock.send(chunk)
        except BlockingIOError:
            return sent


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
