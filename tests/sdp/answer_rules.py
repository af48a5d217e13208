# SPDX-License-Identifier: Apache-2.0
"""What an answer may say to an offer, checked on bare lines without the code under test (RFC 3264, 9429, 8843)."""

MIRRORED = {
    "sendonly": {"recvonly", "inactive"},
    "recvonly": {"sendonly", "inactive"},
    "sendrecv": {"sendrecv", "sendonly", "recvonly", "inactive"},
    "inactive": {"inactive"},
}


def split_sections(text: str) -> tuple[list[str], list[list[str]]]:
    lines = text.split("\r\n")
    assert lines.pop() == "", "every line ends with CR LF"
    assert not any("\r" in line or "\n" in line for line in lines)
    starts = [number for number, line in enumerate(lines) if line.startswith("m=")]
    sections = [lines[at:end] for at, end in zip(starts, [*starts[1:], None], strict=True)]
    return lines[: starts[0]], sections


def values(lines: list[str], name: str) -> list[str]:
    return [line.removeprefix(f"a={name}:") for line in lines if line.startswith(f"a={name}:")]


def direction(session: list[str], section: list[str]) -> str:
    lines = [*section, *session]
    return next((line[2:] for line in lines if line[2:] in MIRRORED and line.startswith("a=")), "sendrecv")


def check_answer(offer: str, answer: str) -> None:
    """Asserts that `answer` is a legal answer of an ICE-lite server to `offer`."""
    offered_session, offered = split_sections(offer)
    session, answered = split_sections(answer)
    assert [line[0] for line in session[:4]] == ["v", "o", "s", "t"]
    assert "a=ice-lite" in session
    if "a=extmap-allow-mixed" in session:
        assert "a=extmap-allow-mixed" in offered_session
    assert len(answered) == len(offered)
    for theirs, ours in zip(offered, answered, strict=True):
        check_section(offered_session, theirs, session, ours)
    in_use = [section for section in answered if section[0].split()[1] != "0"]
    check_bundle(offered_session, session, in_use)
    check_transport(in_use)


def check_section(offered_session: list[str], theirs: list[str], session: list[str], ours: list[str]) -> None:
    media, port, protocol, *formats = ours[0].split()
    their_media, their_port, their_protocol, *their_formats = theirs[0].split()
    assert (media, protocol) == (their_media, their_protocol)
    assert set(formats) <= set(their_formats)
    assert values(ours, "mid") == values(theirs, "mid")
    assert ours[1].startswith("c=IN IP")
    assert len(set(ours)) == len(ours), "no line stands twice"
    if port == "0":
        return
    assert their_port != "0" or "a=bundle-only" in theirs
    assert direction(session, ours) in MIRRORED[direction(offered_session, theirs)]
    for flag in ("a=rtcp-mux", "a=rtcp-rsize", "a=extmap-allow-mixed"):
        assert flag not in ours or flag in theirs or (flag == "a=rtcp-mux" and "a=rtcp-mux-only" in theirs)
    assert "a=rtcp-mux" in ours
    check_formats(theirs, ours, formats)
    check_extensions(theirs, ours)
    check_layers(theirs, ours)


def check_formats(theirs: list[str], ours: list[str], formats: list[str]) -> None:
    assert [line.split()[0] for line in values(ours, "rtpmap")] == formats
    assert {line.lower() for line in values(ours, "rtpmap")} <= {line.lower() for line in values(theirs, "rtpmap")}
    assert set(values(ours, "rtcp-fb")) <= set(values(theirs, "rtcp-fb"))
    offered = dict(line.split(" ", 1) for line in values(theirs, "fmtp"))
    for line in values(ours, "fmtp"):
        payload_type, parameters = line.split(" ", 1)
        assert payload_type in formats
        assert set(parameters.split(";")) <= {part.strip() for part in offered[payload_type].split(";")}
    retransmission = {line.split()[0] for line in values(ours, "rtpmap") if line.endswith(" rtx/90000")}
    preference = theirs[0].split()[3:]
    codecs = [number for number in formats if number not in retransmission]
    assert codecs == sorted(codecs, key=preference.index), "in the offer's order of preference"


def check_extensions(theirs: list[str], ours: list[str]) -> None:
    offered = {line.split()[0].partition("/")[0]: line.split() for line in values(theirs, "extmap")}
    for line in values(ours, "extmap"):
        identifier, uri = line.split()
        number, _, way = identifier.partition("/")
        their_identifier, their_uri, *_ = offered[number]
        assert uri == their_uri
        their_way = their_identifier.partition("/")[2]
        assert bool(way) == bool(their_way)
        assert not way or way in MIRRORED[their_way]


def check_layers(theirs: list[str], ours: list[str]) -> None:
    sent = [line.split()[0] for line in values(theirs, "rid") if line.split()[1:2] == ["send"]]
    received = [line.split() for line in values(ours, "rid")]
    assert all(way == "recv" for _, way in received)
    assert {rid for rid, _ in received} <= set(sent)
    for line in values(ours, "simulcast"):
        way, layers = line.split()
        assert way == "recv"
        assert layers.split(";") == [rid for rid, _ in received]
        assert values(theirs, "simulcast")


def check_bundle(offered_session: list[str], session: list[str], in_use: list[list[str]]) -> None:
    mids = [values(section, "mid")[0] for section in in_use]
    groups = [group.split()[1:] for group in values(session, "group")]
    bundles = [group.split()[1:] for group in values(offered_session, "group") if group.startswith("BUNDLE")]
    assert groups == ([[mid for mid in bundles[0] if mid in mids]] if mids else [])
    assert sorted(mids) == sorted(mid for group in groups for mid in group)
    if groups:
        # aiortc takes the candidates of a bundle's last section, browsers those of the first.
        assert all(values(section, "candidate") and "a=end-of-candidates" in section for section in in_use)


def check_transport(in_use: list[list[str]]) -> None:
    """One transport: the same credentials wherever they stand."""
    for name in ("ice-ufrag", "ice-pwd", "fingerprint", "setup"):
        assert len({tuple(values(section, name)) for section in in_use}) <= 1
        assert all(len(values(section, name)) == 1 for section in in_use)
    assert all(values(section, "setup")[0] in ("active", "passive") for section in in_use)
