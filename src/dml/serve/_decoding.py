"""Decoding of potentially slow images, in processes that can be killed."""

import logging
import queue
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe

from dml.images import ImageError, ImageRef
from dml.serve._batching import Batcher, Overloaded
from dml.serve._uploads import UploadError, check_header

LOG = logging.getLogger("dml.serve")
ADDRESS_SPACE = 4 * 2**30  # bytes, of each process


class Decoder:
    """Decodes one image at a time in a process of its own, which is killed when it takes too long.

    Not safe to call from two threads at once. The process starts with the first image.

    Args:
        max_pixels: Largest image, as width times height.
        timeout: Timeout in seconds for one image.
    """

    def __init__(self, max_pixels: int, timeout: float):
        self.max_pixels = max_pixels
        self.timeout = timeout
        self.process: subprocess.Popen | None = None
        self.closed = threading.Event()

    def __call__(self, data: bytes, name: str, minimum_side: int, finish: Callable):
        """Decodes an image and returns `finish` of it.

        Args:
            data: Its bytes.
            name: Its name in error messages; of an item, the text of its `ImageRef`, whose box and
                mask are applied.
            minimum_side: As `dml.images.read_image` takes it.
            finish: A function of a module, or a `functools.partial` of one.

        Raises:
            UploadError: It can't be decoded, or takes too long.
            Overloaded: The decoder is closed, or its process does not start.
        """
        process = self.process or self._start()
        late = threading.Event()

        def kill():
            late.set()
            process.kill()

        timer = threading.Timer(self.timeout, kill)
        timer.start()
        try:
            self._connection.send((data, name, minimum_side, finish, self.max_pixels))
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._stop()
            if self.closed.is_set():
                raise Overloaded from None
            if late.is_set():
                raise UploadError(
                    413, f"{name}: decoding takes longer than {self.timeout:g} s"
                ) from None
            raise UploadError(415, f"{name}: can't be decoded") from None
        finally:
            timer.cancel()
            timer.join()
        if late.is_set():  # the answer arrived at the same moment
            self._stop()
        if isinstance(answer, UploadError):
            raise answer
        return answer

    def _start(self) -> subprocess.Popen:
        """Starts the process and returns it."""
        self._connection, theirs = Pipe()
        try:
            with theirs:
                process = self.process = subprocess.Popen(
                    # -P: without the current folder on sys.path
                    [sys.executable, "-P", "-m", "dml.serve._decoding", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # warnings about uploaded files
                )
            if not self.closed.is_set():
                self._connection.recv()
        except (EOFError, OSError) as error:
            if not self.closed.is_set():
                LOG.error("dml: the image decoder process does not start: %s", error)
            self._stop()
            raise Overloaded from None
        if self.closed.is_set():
            self._stop()
            raise Overloaded
        return process

    def _stop(self):
        """Ends the process."""
        self._connection.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self):
        """Ends the process permanently; safe to call while it decodes."""
        self.closed.set()
        if (process := self.process) is not None:
            process.kill()


class DecoderPool:
    """Decodes images in several processes. Use as an asynchronous context manager.

    Args:
        count: Number of processes.
        max_pixels: As `Decoder` takes it.
        timeout: As `Decoder` takes it.
        max_pending: Number of images that may wait.
    """

    def __init__(self, count: int, max_pixels: int, timeout: float, max_pending: int):
        self._decoders = [Decoder(max_pixels, timeout) for _ in range(count)]
        self._idle = queue.SimpleQueue()
        for decoder in self._decoders:
            self._idle.put(decoder)
        self._batcher = Batcher(self._decode, 1, max_pending, threads=count)

    async def __aenter__(self):
        await self._batcher.__aenter__()
        return self

    async def __aexit__(self, *error):
        for decoder in self._decoders:  # first, so that none is waited for
            decoder.close()
        await self._batcher.__aexit__(*error)

    async def decode(self, data: bytes, name: str, minimum_side: int, finish: Callable):
        """Decodes as a `Decoder` does."""
        return await self._batcher.submit((data, name, minimum_side, finish))

    def _decode(self, batch):
        decoder = self._idle.get()
        try:
            return [decoder(*arguments) for arguments in batch]
        finally:
            self._idle.put(decoder)


def work(connection: Connection) -> None:
    """Decodes the images that come through a connection until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service ends this process
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(ADDRESS_SPACE, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    connection.send("ready")
    while True:
        try:
            data, name, minimum_side, finish, max_pixels = connection.recv()
        except EOFError:
            return
        try:
            check_header(data, max_pixels)
            answer = finish(ImageRef.parse(name).decode(data, minimum_side))
        except UploadError as error:
            answer = error
        except ImageError as error:
            answer = UploadError(415, str(error))
        connection.send(answer)


if __name__ == "__main__":
    work(Connection(int(sys.argv[1])))
