# SPDX-License-Identifier: Apache-2.0
"""A peer's transport as the control plane sees it: ICE-lite, DTLS, and the asyncio side of an engine worker."""
