# SPDX-License-Identifier: Apache-2.0
from sfu.engine.router import Router

def decision_ns(
    router: Router, track: int, layer: int, spatial: int, temporal: int, rounds: int
) -> tuple[float, float]: ...
def rewrite_ns(router: Router, track: int, layer: int, forwarder: int, rounds: int) -> tuple[float, float, float]: ...
