"""Decoding of images in processes that can be stopped, for those that may take long."""

import logging
import resource
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Connection, Pipe

from dml.images._decoding import ImageError, decode_image
from dml.serve.batching import Busy
from dml.serve.uploads import UploadError, check_header

LOG = logging.getLogger("dml.serve")
MEMORY = 4 * 2**30  # bytes of addresses that a process may use


class Decoder:
    """Decodes one image at a time in a process of its own, which a slow one costs its life.

    Not safe to call from two threads at once. The process starts with the first image.

    Args:
        most_pixels: Of an image.
        seconds: That one may take.
    """

    def __init__(self, most_pixels, seconds):
        self.most_pixels = most_pixels
        self.seconds = seconds
        self.process = None
        self.closed = threading.Event()

    def __call__(self, data, name, minimum_side, finish):
        """Returns what `finish` makes of an image.

        Args:
            data: Its bytes.
            name: What errors call it.
            minimum_side: As `dml.images.read_image` takes it.
            finish: A function of a module, or a `functools.partial` of one.

        Raises:
            UploadError: It can't be decoded, or takes too long.
            Busy: The decoder is closed, or its process does not start.
        """
        if self.process is None:
            self.start()
        late, process = threading.Event(), self.process

        def kill():
            late.set()
            process.kill()

        timer = threading.Timer(self.seconds, kill)
        timer.start()
        try:
            self.connection.send((data, name, minimum_side, finish, self.most_pixels))
            answer = self.connection.recv()
        except (EOFError, OSError):
            self.stop()
            if self.closed.is_set():
                raise Busy from None
            if late.is_set():
                raise UploadError(
                    413, f"{name}: takes more than {self.seconds:g} s to decode"
                ) from None
            raise UploadError(415, f"{name}: can't be decoded") from None
        finally:
            timer.cancel()
            timer.join()
        if late.is_set():  # the answer came in the same moment
            self.stop()
        if isinstance(answer, UploadError):
            raise answer
        return answer

    def start(self):
        """Starts the process."""
        self.connection, theirs = Pipe()
        try:
            with theirs:
                self.process = subprocess.Popen(
                    # -P: without the folder that happens to be the current one
                    [sys.executable, "-P", "-m", "dml.serve.decoding", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # decoders' warnings about strangers' files
                )
            if not self.closed.is_set():
                self.connection.recv()
        except (EOFError, OSError) as error:
            if not self.closed.is_set():
                LOG.error("dml: the process that decodes images does not start: %s", error)
            self.stop()
            raise Busy from None
        if self.closed.is_set():
            self.stop()
            raise Busy

    def stop(self):
        """Ends the process."""
        self.connection.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self):
        """Ends the process for good; safe to call while it decodes."""
        self.closed.set()
        if (process := self.process) is not None:
            process.kill()


def work(connection):
    """Decodes what comes, until nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    connection.send("ready")
    while True:
        try:
            data, name, minimum_side, finish, most_pixels = connection.recv()
        except EOFError:
            return
        try:
            check_header(data, most_pixels)
            answer = finish(decode_image(data, name, minimum_side))
        except UploadError as error:
            answer = error
        except ImageError as error:
            answer = UploadError(415, str(error))
        connection.send(answer)


if __name__ == "__main__":
    work(Connection(int(sys.argv[1])))
