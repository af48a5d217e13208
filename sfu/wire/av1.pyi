# SPDX-License-Identifier: Apache-2.0
from sfu.wire.payloads import Av1

def parse_payload(data: bytes) -> Av1: ...
