# SPDX-License-Identifier: Apache-2.0
from sfu.wire.descriptors import H264

def parse_payload(data: bytes) -> H264: ...
