# SPDX-License-Identifier: Apache-2.0
"""An administrator's decision holds against the token that somebody had before, and yields to a newer one."""

from __future__ import annotations

import pytest

from sfu.rooms.model import Permissions
from signaling import rulings
from signaling.auth import AuthCode, AuthError, Grant
from signaling.rulings import Rulings

LISTENER = Permissions(can_publish=False)


def ada(issued_at: float) -> Grant:
    return Grant("ada", "Ada", Permissions(), issued_at=issued_at)


def test_changed_permissions_hold_for_the_older_tokens() -> None:
    some = Rulings(clock=lambda: 1000.5)
    some.permit("tea", "ada", LISTENER)
    assert some.apply("tea", ada(900)).permissions == LISTENER
    assert some.apply("tea", ada(1000)).permissions == LISTENER, "of the same second: not known to be newer"
    assert some.apply("tea", ada(0)).permissions == LISTENER, "a token that does not say when it was issued"
    assert some.apply("tea", ada(1001)).permissions == Permissions()
    assert some.apply("tea", ada(900)).permissions == LISTENER, "a newer token does not make the older one good"


def test_they_hold_for_that_room_and_that_identity() -> None:
    some = Rulings(clock=lambda: 1000.5)
    some.permit("tea", "ada", LISTENER)
    assert some.apply("coffee", ada(900)).permissions == Permissions()
    bob = Grant("bob", "Bob", Permissions(), issued_at=900)
    assert some.apply("tea", bob) is bob


def test_who_was_removed_needs_a_new_token() -> None:
    some = Rulings(clock=lambda: 1000.5)
    some.remove("tea", "ada")
    with pytest.raises(AuthError) as caught:
        some.apply("tea", ada(900))
    assert caught.value.code == AuthCode.REVOKED
    assert some.apply("tea", ada(1001)).identity == "ada"


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulings, "MAX_RULINGS", 3)
    some = Rulings(clock=lambda: 1000.5)
    for room in ("a", "b", "c", "a", "d"):
        some.permit(room, "ada", LISTENER)
    kept = [room for room in "abcd" if some.apply(room, ada(900)).permissions == LISTENER]
    assert kept == ["a", "c", "d"]
