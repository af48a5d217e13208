# SPDX-License-Identifier: Apache-2.0
"""Datagrams that no honest peer sends; `make fuzz` runs them under AddressSanitizer."""
