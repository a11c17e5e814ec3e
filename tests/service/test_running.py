"""A service as a program of its own: started, called, stopped by a signal while it works."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from eps.client import Client, Policy
from support.ports import PortBlock

PROGRAM = """
import sys, time
from eps.service import Service

service = Service("locations")

@service.method
def slow(seconds: float) -> str:
    print("begun", flush=True)
    time.sleep(seconds)
    return "done"

service.run(sys.argv[1])
"""


def test_a_program(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(PROGRAM)
    block = PortBlock()
    address = f"localhost:{block.numbers[0]}"
    command = [sys.executable, "service.py", address]
    try:
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ran:
            assert ran.stdout is not None and ran.stderr is not None
            assert f"locations is running at http://{address}/jsonrpc" in ran.stderr.readline()
            taken = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
            assert taken.returncode == 1 and "locations: " in taken.stderr and "Traceback" not in taken.stderr
            answers: list[object] = []
            with Client(f"http://{address}", policy=Policy(attempts=1)) as client:
                call = threading.Thread(target=lambda: answers.append(client.call("slow", {"seconds": 0.5})))
                call.start()
                assert ran.stdout.readline() == "begun\n"
                os.kill(ran.pid, signal.SIGTERM)
                call.join(60)
            assert answers == ["done"]
            assert ran.wait(60) == 0
    finally:
        block.close()
