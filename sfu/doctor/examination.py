# SPDX-License-Identifier: Apache-2.0
"""One examination: from the name of the server to the first packet, each step only if the ones before it allow it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from sfu.client.messages import PROTOCOL_VERSION, Answer, Event, Joined
from sfu.client.signal import ClientError, Signal
from sfu.doctor import media, token, udp, web
from sfu.doctor.findings import Finding, Report, Status
from sfu.load.description import OfferedSection, read_answer, write_offer
from sfu.load.ice_client import Address, read_candidates
from sfu.transport.certificate import Certificate

Sign = Callable[[str, str], str]
"""(room, identity) → token."""


@dataclass(frozen=True, slots=True)
class Means:
    """What the doctor may use."""

    token: str | None = None
    sign: Sign | None = None
    room: str | None = None
    verify_tls: bool = True


class Examination:
    def __init__(self, url: str, means: Means, on_finding: Callable[[Finding], None] = lambda _: None) -> None:
        self._url = url
        self._means = means
        named = token.room_of(means.token) if means.token else None
        self._room: Final = means.room or named or f"doctor-{secrets.token_hex(4)}"
        self.report: Final = Report(url, on_finding)

    async def run(self) -> Report:
        """Never raises: what goes wrong is a finding."""
        report = self.report
        try:
            target = web.parse_target(self._url)
        except ValueError as error:
            report.add(
                "address", Status.FAIL, f"{self._url}: {error}", "give it as for a browser: https://call.example.com"
            )
            return report
        report.add("address", Status.PASS, target.url)
        addresses = await web.resolve(target, report)
        reached = await web.connect(target, addresses, report) if addresses else []
        if not reached or not await web.check_tls(target, report, verify=self._means.verify_tls):
            return report
        context = web.tls_context(verify=self._means.verify_tls)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
            if not await web.check_http(http, target, report):
                return report
        if self._means.token is not None and not token.describe(self._means.token, report):
            return report
        probed = await self._negotiate(target)
        if probed is not None:
            await self._check_media_path(target, addresses, *probed)
        return report

    def _token(self, number: int) -> str | None:
        if self._means.token is not None:
            return self._means.token
        return self._means.sign(self._room, f"doctor-{number}-{secrets.token_hex(3)}") if self._means.sign else None

    async def _negotiate(self, target: web.Target) -> tuple[udp.Credentials, list[Address], Signal] | None:
        """Join, and offer: what the server announces. The caller closes the websocket."""
        try:
            signal = await Signal.open(target.url, _ignore, _ignore_end, verify_tls=self._means.verify_tls)
        except ClientError as error:
            self.report.add(
                "websocket", Status.FAIL, error.message,
                "a proxy in front must pass on websocket upgrades for /ws (Connection, Upgrade, Host)",
            )  # fmt: skip
            return None
        try:
            return (*await self._offer(signal), signal)
        except ClientError as error:
            self._refused(error)
        except ValueError as error:
            self.report.add(
                "websocket", Status.FAIL, f"the server's answer: {error}", "client and server differ in version"
            )
        await signal.close()
        return None

    async def _offer(self, signal: Signal) -> tuple[udp.Credentials, list[Address]]:
        given = self._token(0)
        fields: dict[str, Any] = {"room": self._room, "name": "doctor"} | ({} if given is None else {"token": given})
        await signal.request(Joined, "join", version=PROTOCOL_VERSION, **fields)
        if self._means.token is not None or self._means.sign is not None:
            self.report.add("token", Status.PASS, f"opens room {self._room!r}")
        else:
            self.report.add("token", Status.NOTE, "none was needed: the server runs with --dev")
        own_ufrag = secrets.token_hex(4)
        sdp = write_offer(
            [OfferedSection("a0", "audio")],
            ufrag=own_ufrag,
            password=secrets.token_hex(12),
            fingerprint=Certificate().fingerprint,
            setup="actpass",
            version=1,
        )
        answer = await signal.request(Answer, "offer", sdp=sdp, tracks=[])
        facts = read_answer(answer.sdp)
        self.report.add("websocket", Status.PASS, "a join and an offer were answered")
        return udp.Credentials(facts.ufrag, facts.password, own_ufrag), read_candidates(facts.candidates)

    def _refused(self, error: ClientError) -> Finding:
        about_token = error.code in token.ADVICE
        advice = token.ADVICE.get(error.code) or error.advice
        return self.report.add(
            "token" if about_token else "websocket", Status.FAIL, f"{error.code}: {error.message}", advice
        )

    async def _check_media_path(
        self,
        target: web.Target,
        addresses: list[str],
        credentials: udp.Credentials,
        announced: list[Address],
        signal: Signal,
    ) -> None:
        try:
            ports = {port for _, port in announced}
            elsewhere = [(address, port) for address in addresses for port in ports if (address, port) not in announced]
            probes = await asyncio.gather(*(udp.probe(remote, credentials) for remote in [*announced, *elsewhere]))
            reach = udp.Reach(tuple(probes[: len(announced)]), tuple(probes[len(announced) :]))
            works = udp.judge_reach(reach, self.report)
            answered = [found for found in probes if found.reply is udp.Reply.ANSWERED]
            if answered:
                udp.judge_nat(answered, self.report)
                nearest = min(answered, key=lambda found: found.rtt_ms)
                await udp.check_mtu(nearest.remote, credentials, self.report)
        finally:
            await signal.close()
        if works:
            count = 1 if self._means.token is not None else 2
            await media.check_media(
                target.url, self._room, [self._token(number + 1) for number in range(count)], self.report,
                verify_tls=self._means.verify_tls,
            )  # fmt: skip


def _ignore(_: Event) -> None:
    """The doctor looks at answers only."""


def _ignore_end(_: str) -> None:
    """Requests tell of it."""
