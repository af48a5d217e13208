# SPDX-License-Identifier: Apache-2.0
"""The data plane: routing, SRTP, selection and rewriting on a native thread."""
