"""What concurrent requests ask for, done together."""

import asyncio
import contextlib
import queue
import threading


class Busy(Exception):
    """More is waiting than the service takes; try again later."""


class Batcher:
    """Does what waits while its threads are at work as their next batch.

    Without a delay: a lone request is answered at once, and the more there are, the larger the
    batches. Use as an asynchronous context manager.

    Args:
        answer_all: From a list of questions to as many answers, or the exceptions to raise in
            place of some; called in each of the threads.
        largest: Questions in a batch; positive.
        most: Questions that may wait; positive.
        threads: Batches at the same time; positive.
        observe: Called in these threads with the size of each batch; None for silence.
    """

    def __init__(self, answer_all, largest=32, most=128, threads=1, observe=None):
        self.answer_all = answer_all
        self.largest = largest
        self.observe = observe or (lambda size: None)
        self.waiting = queue.Queue(most)
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(threads)]

    async def __aenter__(self):
        self.loop = asyncio.get_running_loop()
        for thread in self.threads:
            thread.start()
        return self

    async def __aexit__(self, *error):
        with self.waiting.mutex:  # those that wait are not served any more
            left = [answer for _, answer in self.waiting.queue]
            self.waiting.queue.clear()
        for answer in left:
            answer.cancel()
        self.waiting.put(None)
        for thread in self.threads:
            await asyncio.to_thread(thread.join)

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
        while taken := self.take():
            batch = [one for one in taken if not one[1].done()]  # the others gave up
            if not batch:
                continue
            self.observe(len(batch))
            try:
                answers = self.answer_all([question for question, _ in batch])
            except Exception as error:  # told to each that waits; the service stays up
                answers = [error] * len(batch)
            self.loop.call_soon_threadsafe(deliver, batch, answers)

    def take(self):
        """Returns the next batch, once something waits; an empty one when it is told to stop."""
        batch = [self.waiting.get()]
        with contextlib.suppress(queue.Empty):
            while batch[-1] is not None and len(batch) < self.largest:
                batch.append(self.waiting.get_nowait())
        if batch[-1] is None:
            self.waiting.put(batch.pop())  # for the other threads, and for this one's next turn
        return batch


def deliver(batch, answers):
    """Hands answers, or the error that came in place of one, to those that wait."""
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
