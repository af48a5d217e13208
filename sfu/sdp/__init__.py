# SPDX-License-Identifier: Apache-2.0
"""Session descriptions: a lossless document and the negotiation on top of it."""
