# SPDX-License-Identifier: Apache-2.0
"""`python -m sfu`."""

from sfu.cli import main

main()
