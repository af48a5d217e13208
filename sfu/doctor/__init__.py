# SPDX-License-Identifier: Apache-2.0
"""`sfu doctor`: from a client's place, why it cannot connect. Speaks only the public protocol."""
