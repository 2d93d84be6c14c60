"""Images of concurrent requests, embedded together."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np


class Busy(Exception):
    """More is waiting than the service takes; try again later."""


class Batcher:
    """Embeds what waits while the encoder is at work as its next batch.

    Without a delay: a lone request is embedded at once, and the more there are, the larger the
    batches. Use as an asynchronous context manager.

    Args:
        predict: From uint8 images (B, side, side, 3) to vectors (B, D); called in one thread.
        largest: Images in a batch; positive.
        most: Images that may wait; positive.
        observe: Called with the size of each batch; None for silence.
    """

    def __init__(self, predict, largest=32, most=128, observe=None):
        self.predict = predict
        self.largest = largest
        self.observe = observe or (lambda size: None)
        self.waiting = asyncio.Queue(most)
        self.thread = ThreadPoolExecutor(1)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.work())
        return self

    async def __aexit__(self, *error):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        while not self.waiting.empty():
            self.waiting.get_nowait()[1].cancel()
        self.thread.shutdown()

    async def embed(self, image):
        """Returns the vector (D,) of a uint8 image (side, side, 3).

        Raises:
            Busy: Too many wait already.
        """
        answer = asyncio.get_running_loop().create_future()
        try:
            self.waiting.put_nowait((image, answer))
        except asyncio.QueueFull:
            raise Busy from None
        return await answer

    async def work(self):
        """Embeds batch after batch, for as long as the service runs."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self.waiting.get()]
            while len(batch) < self.largest and not self.waiting.empty():
                batch.append(self.waiting.get_nowait())
            batch = [(image, answer) for image, answer in batch if not answer.done()]
            if not batch:
                continue  # all of them gave up
            self.observe(len(batch))
            images = np.stack([image for image, _ in batch])
            try:
                vectors = await loop.run_in_executor(self.thread, self.predict, images)
            except Exception as error:  # told to each that waits; the service stays up
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), vector in zip(batch, vectors, strict=True):
                if not answer.done():
                    answer.set_result(vector)
