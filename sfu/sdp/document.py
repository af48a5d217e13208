# SPDX-License-Identifier: Apache-2.0
"""A session description as it was written: every line is kept, so that what is parsed is written back byte by byte.

Only the structure is checked here (version line, media lines, sizes, no stray control characters); lines that nobody
asks for are kept and never looked at. Attributes are read by name, each with the number of its line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# An offer of Chromium with 49 video sections has 247,000 characters and about 170 lines a section.
MAX_CHARACTERS = 512 * 1024
MAX_MEDIA_SECTIONS = 128
MAX_LINES_PER_SECTION = 4096
MAX_PORT = 65535

_MEDIA_LINE = re.compile(r"m=([!-~]+) ([0-9]{1,5})(?:/[0-9]{1,5})? ([!-~]+)((?: [!-~]+)+) ?")


class SdpError(ValueError):
    """A description that cannot be used: where (None: the description as a whole), what, and what to do about it."""

    def __init__(self, line: int | None, message: str, advice: str) -> None:
        where = "" if line is None else f"line {line}: "
        super().__init__(f"{where}{message}; {advice}")
        self.line = line
        self.message = message
        self.advice = advice


class Attribute(NamedTuple):
    """The value of one `a=name:value` line ("" for `a=name`), with its line number counted from 1."""

    line: int
    value: str


class Section:
    """Consecutive lines of a description, with its attributes by name."""

    __slots__ = ("_attributes", "first_line", "lines")

    def __init__(self, first_line: int, lines: Sequence[str]) -> None:
        if len(lines) > MAX_LINES_PER_SECTION:
            raise SdpError(
                first_line,
                f"a section of {len(lines)} lines",
                f"a section may have {MAX_LINES_PER_SECTION} lines",
            )
        self.first_line = first_line
        self.lines = tuple(lines)
        self._attributes = _index_attributes(lines)

    def all(self, name: str) -> Sequence[Attribute]:
        """Every attribute of this name, in the order of the lines."""
        return [self._attribute(name, index) for index in self._attributes.get(name, ())]

    def raw(self, *names: str) -> tuple[str, ...]:
        """The lines of the attributes of these names, as they were written."""
        lines, attributes = self.lines, self._attributes
        return tuple([lines[index] for name in names for index in attributes.get(name, ())])

    def first(self, name: str) -> Attribute | None:
        found = self._attributes.get(name)
        return self._attribute(name, found[0]) if found else None

    def has(self, name: str) -> bool:
        return name in self._attributes

    def _attribute(self, name: str, index: int) -> Attribute:
        value = self.lines[index][len("a=") + len(name) + len(":") :]
        return Attribute(self.first_line + index, value.removesuffix("\r"))


class MediaDescription(Section):
    """A media section: its `m=` line in parts, and its attributes."""

    __slots__ = ("formats", "media", "port", "protocol")

    def __init__(self, first_line: int, lines: Sequence[str]) -> None:
        super().__init__(first_line, lines)
        match = _MEDIA_LINE.fullmatch(lines[0].removesuffix("\r"))
        if match is None or int(match[2]) > MAX_PORT:
            raise SdpError(first_line, "malformed media line", "expected 'm=<media> <port> <protocol> <format> ...'")
        self.media = match[1]
        self.port = int(match[2])
        self.protocol = match[3]
        self.formats = tuple(match[4].split())

    @property
    def rejected(self) -> bool:
        """Port 0 means refused or stopped, unless the section only lives inside a bundle (RFC 8843 §6)."""
        return self.port == 0 and not self.has("bundle-only")


class SessionDescription:
    """The session's own lines, and the media sections in their order."""

    __slots__ = ("media", "session")

    def __init__(self, session: Section, media: Sequence[MediaDescription]) -> None:
        self.session = session
        self.media = tuple(media)

    @classmethod
    def parse(cls, text: str) -> SessionDescription:
        if len(text) > MAX_CHARACTERS:
            raise SdpError(None, f"a description of {len(text)} characters", f"at most {MAX_CHARACTERS} are read")
        lines = text.split("\n")
        if lines[0].removesuffix("\r") != "v=0":
            raise SdpError(1, "not a session description", "the first line must be 'v=0'")
        _refuse_control_characters(text, lines)
        starts = [number for number, line in enumerate(lines) if line.startswith("m=")]
        if len(starts) > MAX_MEDIA_SECTIONS:
            raise SdpError(
                starts[MAX_MEDIA_SECTIONS] + 1,
                f"{len(starts)} media sections",
                f"at most {MAX_MEDIA_SECTIONS} are served in one connection",
            )
        ends = [*starts, len(lines)][1:]
        session = Section(1, lines[: starts[0]] if starts else lines)
        return cls(session, [MediaDescription(at + 1, lines[at:end]) for at, end in zip(starts, ends, strict=True)])

    def serialize(self) -> str:
        lines = list(self.session.lines)
        for media in self.media:
            lines.extend(media.lines)
        return "\n".join(lines)


def parse_unsigned(text: str, maximum: int) -> int | None:
    """A decimal number as SDP writes it, or None: `int()` also takes signs, blanks, underscores and other scripts."""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(maximum)):
        return None
    number = int(text)
    return number if number <= maximum else None


def _index_attributes(lines: Sequence[str]) -> Mapping[str, list[int]]:
    """Attribute name → where in `lines`: values are cut out on demand, most of a large offer is never asked for."""
    attributes: dict[str, list[int]] = {}
    for index, line in enumerate(lines):
        if line[:2] != "a=":
            continue
        end = line.find(":")
        name = line[2:end] if end > 0 else line[2:].removesuffix("\r")
        found = attributes.get(name)
        if found is None:
            attributes[name] = [index]
        else:
            found.append(index)
    return attributes


def _refuse_control_characters(text: str, lines: Sequence[str]) -> None:
    """Values are echoed into answers: a carriage return inside one would become a line of ours to a lenient reader."""
    if "\0" not in text and text.count("\r") == text.count("\r\n"):
        return
    for number, line in enumerate(lines, 1):
        if "\0" in line or "\r" in line.removesuffix("\r"):
            raise SdpError(number, "a control character inside a line", "lines end with CR LF or LF, and hold neither")
