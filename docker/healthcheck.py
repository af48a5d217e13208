# SPDX-License-Identifier: Apache-2.0
"""Ends with 0 if the server in this container answers, by HTTP or by HTTPS. Its port is read where it reads it."""

import http.client
import os
import ssl
import sys

HERE = "127.0.0.1"
DEFAULT_PORT = 8080
TIMEOUT_S = 2


def connections(port: int) -> tuple[http.client.HTTPConnection, ...]:
    # The certificate is for the names that clients use, which this address is not; and nothing secret is said.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return (
        http.client.HTTPConnection(HERE, port, timeout=TIMEOUT_S),
        http.client.HTTPSConnection(HERE, port, timeout=TIMEOUT_S, context=context),
    )


def fault() -> str | None:
    port = int(os.environ.get("SFU_HTTP_PORT") or DEFAULT_PORT)
    problem = ""
    for connection in connections(port):
        try:
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            problem = problem or f"port {port} does not answer: {error!r}"
            continue
        return None if status == http.client.OK else f"/healthz answers {status}"
    return problem


sys.exit(fault())
