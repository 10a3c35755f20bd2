"""A program on a terminal: what it sends, and what is then to be seen on the screen."""

import codecs
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from pathlib import Path
from typing import NamedTuple

TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n\b])|([^\x1b\r\n\b]+|\x1b)")
BEGUN = re.compile(r"\x1b(\[[?\d;]*)?$")


class Screen:
    """Lines of text with a cursor, which understands what tqdm and rich send; nothing scrolls off."""

    def __init__(self, columns: int) -> None:
        self.columns, self.lines, self.row, self.column = columns, [""], 0, 0
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""

    def feed(self, said: bytes) -> None:
        """Take what a program sent."""
        text = self._rest + self._decode(said)
        begun = BEGUN.search(text)
        self._rest = begun[0] if begun else ""
        for number, letter, control, plain in TOKEN.findall(text.removesuffix(self._rest)):
            if control == "\r":
                self.column = 0
            elif control == "\n":
                self.row, self.column = self.row + 1, 0
            elif control == "\b":
                self.column = max(0, self.column - 1)
            elif letter:
                self._move(letter, int(number) if number.isdigit() else 0)
            else:
                for character in plain:
                    self._write(character)
            self.lines += [""] * (self.row + 1 - len(self.lines))

    def _move(self, letter: str, number: int) -> None:
        line = self.lines[self.row]
        if letter == "A":
            self.row = max(0, self.row - (number or 1))
        elif letter == "B":
            self.row += number or 1
        elif letter == "K":
            self.lines[self.row] = ("", line[self.column :], "")[number] if number else line[: self.column]
        elif letter == "J":
            self.lines[self.row :] = [line[: self.column]]

    def _write(self, character: str) -> None:
        if self.column == self.columns:
            self.row, self.column = self.row + 1, 0
            self.lines += [""] * (self.row + 1 - len(self.lines))
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
        self.column += 1

    @property
    def text(self) -> str:
        """What is to be seen."""
        return "\n".join(line.rstrip() for line in self.lines).rstrip()


class Shown(NamedTuple):
    """How a program ended, what it sent, the last screen, and the screens there were after each part it sent."""

    status: int
    said: bytes
    screen: str
    screens: list[str]


def on_terminal(*command: object, cwd: Path, columns: int = 120, seconds: int = 120, **environment: str) -> Shown:
    """Run a program with a terminal for its input and output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI", "COLUMNS")}
    process = subprocess.Popen(
        [str(word) for word in command], cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**inherited, "TERM": "xterm-256color", **environment}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    screen, said, screens = Screen(columns), b"", []
    signal.alarm(seconds)  # a test that hangs ends with the process
    try:
        while part := os.read(ours, 1 << 16):
            said += part
            screen.feed(part)
            screens.append(screen.text)
    except OSError:
        pass  # how Linux says that the other side is closed
    finally:
        signal.alarm(0)
        os.close(ours)
    return Shown(process.wait(timeout=60), said, screen.text, screens)
