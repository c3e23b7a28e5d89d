"""`make demo` is the first thing a newcomer runs."""

import json
import os
import subprocess
from pathlib import Path

import psutil

from tests.fixtures.mesh import command_line

# Installation apart, a newcomer waits for a minute at most; a busy machine gets twice that before it is an error.
WITHIN_S = 120.0


def test_demo__three_signed_intents__all_settle_and_every_balance_is_accounted_for(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        command_line("demo", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    started = psutil.Process(process.pid)
    seen: set[psutil.Process] = set()
    records = []
    assert process.stdout is not None
    for line in process.stdout:
        seen.update(started.children(recursive=True))
        records.append(json.loads(line))
    _, errors = process.communicate(timeout=WITHIN_S)

    assert process.returncode == 0, errors
    intents = [record["intent"] for record in records if record["event"] == "intent"]
    assert {intent["type"] for intent in intents} == {
        "INTENT_TYPE_SWAP",
        "INTENT_TYPE_BRIDGE",
        "INTENT_TYPE_TRANSFER",
    }
    assert all(intent["status"] == "INTENT_STATUS_COMPLETED" for intent in intents)
    assert all(intent["phase"] == "INTENT_PHASE_SETTLED" for intent in intents)
    balances = [record for record in records if record["event"] == "balance"]
    assert all(balance["expected"] in (None, balance["change"]) for balance in balances)
    assert any(int(balance["change"]) != 0 for balance in balances if balance["who"] == "recipient")
    assert len(seen) >= 10, "the demo should have run databases, chains, services and a gateway"
    assert [process for process in seen if process.is_running()] == []
    assert list(tmp_path.iterdir()) == [], "the demo's own folder should be gone"
