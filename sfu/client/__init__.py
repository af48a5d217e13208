# SPDX-License-Identifier: Apache-2.0
"""An asyncio client of the server, for tests, bots and programs: it speaks only the public protocol."""
