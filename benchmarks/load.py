"""The service under load, compared with bare ONNX Runtime.

    python benchmarks/load.py INDEX PHOTOS --clients 50 --seconds 60

The service runs in its own process, the clients in this one, on the same processors. Bare ONNX
Runtime, with its defaults, embeds images that are already resized, in batches as large as the
service's were. The two take turns, since the speed of a machine varies.
"""

import argparse
import asyncio
import collections
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import uvloop

PARTS = 6  # turns of the service and of bare ONNX Runtime


def request(data, port):
    """Returns the bytes of a search by upload."""
    head = (
        f"POST /search?k=10 HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: {len(data)}\r\n"
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + data


async def client(port, requests, end, statuses, times):
    """Sends one request after another."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    generator = np.random.default_rng(id(writer) % 2**32)
    while time.perf_counter() < end:
        started = time.perf_counter()
        writer.write(requests[generator.integers(len(requests))])
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
        statuses[int(head[9:12])] += 1
        times.append(time.perf_counter() - started)
        if b"503" in head[9:12]:
            await asyncio.sleep(1)
    writer.close()


async def load(port, requests, clients, seconds):
    statuses, times = collections.Counter(), []
    end = time.perf_counter() + seconds
    await asyncio.gather(*(client(port, requests, end, statuses, times) for _ in range(clients)))
    return statuses, np.array(times)


async def fetch(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return (await reader.read()).decode()


class Bare:
    """ONNX Runtime alone, with its defaults.

    Args:
        index: The folder of an index.
        paths: Of photos.
    """

    def __init__(self, index, paths):
        import onnxruntime

        from dml.encoding._squares import read_squares
        from dml.encoding.onnx_encoder import OnnxEncoder

        encoder = OnnxEncoder(Path(index) / "bundle")
        self.squares = np.stack(list(read_squares(paths, encoder.preparation, 2, len(paths))))
        self.session = onnxruntime.InferenceSession(
            encoder.path / "encoder.onnx", providers=["CPUExecutionProvider"]
        )
        self.input = self.session.get_inputs()[0].name

    def rate(self, size, seconds):
        """Returns images per second in batches of a size."""
        batch = {self.input: self.squares[:size]}
        self.session.run(None, batch)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            self.session.run(None, batch)
            count += size
        return count / (time.perf_counter() - started)


def batches(port):
    """Returns how many batches the service has embedded, and how many images in all."""
    metrics = uvloop.run(fetch(port, "/metrics"))
    return np.array(
        [float(re.search(rf"dml_batch_size_{name} (\S+)", metrics)[1]) for name in ("count", "sum")]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index")
    parser.add_argument("photos", help="a folder of JPEG files")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    paths = sorted(map(str, Path(options.photos).rglob("*.jpg")))[:500]
    if not paths:
        raise SystemExit(f"{options.photos}: no .jpg files")
    bare = Bare(options.index, paths[:32])
    statuses, times = collections.Counter(), []
    command = [sys.executable, "-m", "dml.cli", "serve", options.index, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            port = int(re.search(r":(\d+)/", service.stdout.readline())[1])
            requests = [request(Path(path).read_bytes(), port) for path in paths]
            uvloop.run(load(port, requests, options.clients, 5))  # warms up
            before, rates, alone = batches(port), [], []
            for _ in range(PARTS):
                part = options.seconds / PARTS
                some = uvloop.run(load(port, requests, options.clients, part))
                statuses.update(some[0])
                times.append(some[1])
                rates.append(some[0][200] / part)
                count, total = batches(port) - before
                size = max(1, round(total / count))
                alone.append(bare.rate(size, part / 2))
            peak = Path(f"/proc/{service.pid}/status").read_text()
        finally:
            service.terminate()
    times = 1000 * np.concatenate(times)
    memory = int(re.search(r"VmHWM:\s+(\d+)", peak)[1]) / 1024
    print(f"{options.clients} clients for {options.seconds:g} s; statuses: {dict(statuses)}")
    print(f"p50 {np.median(times):.0f} ms, p99 {np.quantile(times, 0.99):.0f} ms")
    print(f"searches per second, by turns: {' '.join(f'{r:.0f}' for r in rates)}")
    print(f"bare ONNX Runtime, batches of {size}: {' '.join(f'{r:.0f}' for r in alone)}")
    rate, bare_rate = np.mean(rates), np.mean(alone)
    print(
        f"{rate:.0f} / {bare_rate:.0f} = {rate / bare_rate:.2f}; the service took {memory:.0f} MiB"
    )


if __name__ == "__main__":
    main()
