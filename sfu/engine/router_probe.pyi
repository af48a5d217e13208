# SPDX-License-Identifier: Apache-2.0
from sfu.engine.router import Router

def drive(
    router: Router, datagrams: list[bytes], remote: tuple[str, int], local: str, now_us: int, step_us: int
) -> int: ...
def written_memory(router: Router) -> list[tuple[str, int, int]]: ...
