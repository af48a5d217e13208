# SPDX-License-Identifier: Apache-2.0
from sfu.engine.statistics import Statistics

def statistics_of(address: int) -> Statistics: ...
