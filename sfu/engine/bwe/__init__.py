# SPDX-License-Identifier: Apache-2.0
"""Send-side bandwidth estimation of one transport; estimator.pxd is the contract, docs/congestion.md the account."""
