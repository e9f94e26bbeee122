"""Download a network's published weight file."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import urllib.error
import urllib.request
from typing import BinaryIO

from hires_nst.backbones.description import Backbone
from hires_nst.errors import WeightsError
from hires_nst.events import DownloadProgress, OnEvent

CHUNK = 1 << 20
TIMEOUT = 30.0
"""Seconds without an answer after which a download fails."""

_NETWORK_ERRORS = (
    *(urllib.error.URLError, http.client.HTTPException, ssl.SSLError),
    *(TimeoutError, ConnectionError, ValueError),
)


def download(backbone: Backbone, target: BinaryIO, *, on_event: OnEvent) -> None:
    """Write the file that a network's address sends to `target`.

    Raises:
        WeightsError: there is no internet connection, the server refuses, the connection is lost, or the file is not
            the published one.
    """
    file, url = backbone.weights.file, backbone.weights.url
    result = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            total, done = int(response.headers.get("Content-Length") or 0), 0
            on_event(DownloadProgress(file, done, total))
            while chunk := response.read(CHUNK):
                target.write(chunk)
                result.update(chunk)
                done += len(chunk)
                on_event(DownloadProgress(file, done, total))
    except _NETWORK_ERRORS as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise _not_downloaded(backbone, str(getattr(error, "reason", None) or error)) from None
    if done < total:
        raise _not_downloaded(backbone, f"the connection was lost after {done} of {total} bytes")
    if not backbone.weights.matches(result.hexdigest()):
        raise WeightsError(
            f"{url} sent another file than the published one (its SHA-256 begins with {result.hexdigest()[:8]}, not "
            f"{backbone.weights.sha256[:8]}), which was discarded; try again, or get the file in another way and run "
            "`hires-nst models import FILE`"
        )


def _not_downloaded(backbone: Backbone, reason: str) -> WeightsError:
    return WeightsError(
        f"the weights of {backbone.name} could not be downloaded from {backbone.weights.url} ({reason}); use the "
        "bundled network (--model vgg19-slim), or get the file elsewhere and run `hires-nst models import FILE`, or "
        f"set TORCH_HOME to a folder that has hub/checkpoints/{backbone.weights.file}"
    )
