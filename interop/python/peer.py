"""How a partner talks with the test that started it: ../node/peer.mjs tells it, this says the same in Python."""

import json
import sys
import threading
from types import SimpleNamespace

START = json.loads(sys.argv[2], object_hook=lambda fields: SimpleNamespace(**fields))


def say(value: dict) -> None:
    print(json.dumps(value), flush=True)


def end_with_stdin() -> None:
    """Ends the process when its stdin does, so that it does not outlive the test."""
    sys.stdin.read()
    sys.exit(0)


def serve_threads(urls: list[str], serve: list) -> None:
    """Says where it serves, and serves in the background until stdin ends."""
    for run in serve:
        threading.Thread(target=run, daemon=True).start()
    say({"urls": urls})
    end_with_stdin()
