"""Options of a service."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class ServiceOptions:
    """Limits and resources of a service.

    Args:
        token: Bearer token that requests must present; None for no authentication.
        allowed_hosts: Accepted Host headers; None for any.
        max_upload_bytes: Largest upload.
        max_pixels: Largest image, as width times height.
        max_pending: Requests that may wait for the encoder; excess requests receive 503.
        max_batch_size: Images embedded together; on CPUs, larger batches are slower.
        timeout: Timeout in seconds for receiving a request, and for answering it.
        workers: Threads that decode, embed and search, each with its own batch.
        decoders: Processes that decode potentially slow images: formats other than JPEG and PNG,
            many pixels, or many scans.
        decode_timeout: Timeout in seconds for decoding one of these.
    """

    token: str | None = None
    allowed_hosts: tuple[str, ...] | None = None
    max_upload_bytes: int = 16 * 2**20
    max_pixels: int = 50_000_000
    max_pending: int = 128
    max_batch_size: int = 8
    timeout: float = 20.0
    workers: int = 3
    decoders: int = 2
    decode_timeout: float = 10.0

    @property
    def threads_per_batch(self) -> int:
        """Processors that one batch uses: its worker's, and all those without a worker.

        Batches that share processors would wait for each other in each layer of the network.
        """
        return max(1, (os.cpu_count() or 1) - self.workers + 1)
