"""A Redis server that keeps what it acknowledges: ``python -m eps.programs.dev.redis_server PORT FOLDER``.

For the demo. It runs as a child of this process, which says in its log when it answers, and ends it at SIGTERM.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

START_SECONDS = 10.0
"""Until it must answer; it takes some hundredths of a second."""


def main() -> None:
    """Run it until SIGTERM, or until it ends; its exit code is ours."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "redis.log").open("wb") as log:
        server = subprocess.Popen(  # noqa: S603 - of our own words
            [
                *("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
                *("--appendonly", "yes", "--appendfsync", "always"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    signal.signal(signal.SIGTERM, lambda number, frame: server.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _tell(server, port, folder)
    sys.exit(server.wait())


def _tell(server: "subprocess.Popen[bytes]", port: int, folder: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
            continue
        text = f"redis-server listens on 127.0.0.1:{port}, its log is {folder / 'redis.log'}"
        print(json.dumps({"kind": "started", "level": "info", "message": text}), file=sys.stderr, flush=True)
        return


if __name__ == "__main__":
    main()
