"""A program at a pseudo terminal, as a person uses it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

from forebay import PATIENCE_S, environment

INTERRUPT = b"\x03"
# Colours, and the movements with which progress is written over itself.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\(B|\r")


class Terminal:
    """A running program. What it has written and nobody has looked at yet is in `text`."""

    def __init__(self, *command: object, home: Path):
        ours, theirs = pty.openpty()
        # Wide, so that no line is broken.
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 500, 0, 0))
        environ = environment() | {"HOME": str(home), "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environ,
            # A terminal of its own, whose Ctrl-C is for it alone.
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.file = ours
        self._seen = b""

    @property
    def text(self) -> str:
        """What has come and was not taken by `expect`."""
        return CONTROL.sub("", self._seen.decode(errors="replace"))

    def send(self, line: str) -> None:
        """Types a line."""
        os.write(self.file, line.encode() + b"\n")

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.write(self.file, INTERRUPT)

    def expect(self, pattern: str) -> str:
        """Waits until the pattern is in what has come; returns all up to its end, and forgets that."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.text)):
            left = deadline - time.monotonic()
            assert left > 0 and self._read(left), f"{pattern!r} does not come:\n{self.text[-4000:]}"
        text = self.text
        self._seen = text[found.end() :].encode()
        return text[: found.end()]

    def _read(self, patience_s: float) -> bool:
        """Reads more; false at the end, or when nothing comes."""
        ready, _, _ = select.select([self.file], [], [], patience_s)
        if not ready:
            return False
        try:
            more = os.read(self.file, 65536)
        except OSError:
            return False
        self._seen += more
        return bool(more)

    def wait(self) -> int:
        """Waits for the end of the program; returns its exit code."""
        while self._read(PATIENCE_S):
            pass
        return self.process.wait(timeout=PATIENCE_S)

    def close(self) -> None:
        """Ends the program, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.file)
