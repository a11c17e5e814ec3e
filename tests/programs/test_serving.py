"""What a server does while it runs, besides its work."""

import logging
import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from eps.pki import Authority
from eps.programs import serving
from eps.programs.running.logs import Format
from eps.programs.running.runtime import Options


def test_a_certificate_that_is_about_to_expire_is_told_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, now = Authority.create(fast=True), datetime.now(UTC)
    (tmp_path / "root.crt").write_bytes(authority.root_pem)
    soon = now + timedelta(days=19, hours=12)
    authority.issue_tls("sd-1", not_before=now - timedelta(days=1), not_after=soon).write(tmp_path, "sd-1")
    tls = {"certificate_file": str(tmp_path / "sd-1.crt"), "key_file": str(tmp_path / "sd-1.key")}
    roots = [str(tmp_path / "root.crt")]
    settings = {
        "state_path": str(tmp_path / "state"),
        "jsonrpc_server": {"bind_address": "localhost:0", "tls": {**tls, "ca_certificate_files": roots}},
        "directory": {"datastore": {"type": "memory"}, "ca_certificate_files": roots},
    }
    (tmp_path / "sd.yml").write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("SD_SETTINGS", str(tmp_path / "sd.yml"))
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(serving, "REMIND_SECONDS", 0.01)
    for name in ("handlers", "level"):  # a server takes the libraries' logs over
        monkeypatch.setattr(logging.getLogger(), name, getattr(logging.getLogger(), name))
    log = tmp_path / "log"

    def stop_when_told_thrice() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and (not log.exists() or log.read_text().count("expires in 19 days") < 3):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop_when_told_thrice)
    stopping.start()
    assert serving.serve("sd", Options(format=Format.JSON, log_file=str(log)), take_over=False) == 0
    stopping.join()
    assert log.read_text().count("expires in 19 days") >= 3
