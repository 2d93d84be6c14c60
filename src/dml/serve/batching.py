"""What concurrent requests ask for, done together."""

import asyncio
import queue
import threading


class Busy(Exception):
    """More is waiting than the service takes; try again later."""


class Batcher:
    """Does what waits while its thread is at work as its next batch.

    Without a delay: a lone request is answered at once, and the more there are, the larger the
    batches. Use as an asynchronous context manager.

    Args:
        answer_all: From a list of questions to as many answers; called in one thread.
        largest: Questions in a batch; positive.
        most: Questions that may wait; positive.
        observe: Called in that thread with the size of each batch; None for silence.
    """

    def __init__(self, answer_all, largest=32, most=128, observe=None):
        self.answer_all = answer_all
        self.largest = largest
        self.observe = observe or (lambda size: None)
        self.waiting = queue.Queue(most)

    async def __aenter__(self):
        self.loop = asyncio.get_running_loop()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()
        return self

    async def __aexit__(self, *error):
        with self.waiting.mutex:  # those that wait are not served any more
            left = [answer for _, answer in self.waiting.queue]
            self.waiting.queue.clear()
        for answer in left:
            answer.cancel()
        self.waiting.put(None)
        await asyncio.to_thread(self.thread.join)

    async def ask(self, question):
        """Returns the answer to a question.

        Raises:
            Busy: Too many wait already.
        """
        answer = self.loop.create_future()
        try:
            self.waiting.put_nowait((question, answer))
        except queue.Full:
            raise Busy from None
        return await answer

    def work(self):
        """Answers batch after batch, until it is told to stop."""
        while (first := self.waiting.get()) is not None:
            batch = [first]
            while len(batch) < self.largest and not self.waiting.empty():
                batch.append(self.waiting.get())
            stops = None in batch
            batch = [one for one in batch if one is not None and not one[1].done()]
            if batch:  # the others gave up
                self.observe(len(batch))
                try:
                    answers = self.answer_all([question for question, _ in batch])
                except Exception as error:  # told to each that waits; the service stays up
                    answers = [error] * len(batch)
                self.loop.call_soon_threadsafe(deliver, batch, answers)
            if stops:
                return


def deliver(batch, answers):
    """Hands answers, or the error that came in place of one, to those that wait."""
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
