# SPDX-License-Identifier: Apache-2.0
"""What pysfu costs: `python -m benchmarks NAME`. Figures and how they were taken are in docs/benchmarks.md."""
