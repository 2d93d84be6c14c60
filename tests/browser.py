"""A headless Chromium that tests drive, over a pipe and its DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlsplit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 120  # seconds for an answer, and for a condition to come true
FLAGS = [
    "--headless",
    "--no-sandbox",  # which root can't have
    "--disable-gpu",
    "--disable-dev-shm-usage",  # a container's is small
    "--disable-background-networking",
    "--remote-debugging-pipe",
]
# Chromium reads from descriptor 3 and writes to 4, whatever the pipes' own are.
LAUNCH = """
import os, sys
for end, wanted in zip(sys.argv[1:3], (3, 4)):
    os.dup2(int(end), wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""
KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "Space": (32, " ")}
SHIFT = 8


class Browser:
    """Runs Chromium, for as long as it is a context, and opens tabs in it."""

    def __enter__(self):
        theirs_in, self.commands = os.pipe()
        self.answers, theirs_out = os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs_in, theirs_out)]
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-S", "-c", LAUNCH, *map(str, theirs)),
                *(CHROMIUM, *FLAGS, f"--user-data-dir={self.profile.name}"),
            ],
            pass_fds=theirs,
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs_in, theirs_out, *theirs):
            os.close(end)
        self.last = 0
        self.received = b""
        self.events = {}
        return self

    def __exit__(self, *exception):
        self.process.terminate()
        self.process.wait(PATIENCE)
        os.close(self.commands)
        os.close(self.answers)
        self.profile.cleanup()

    def call(self, method, session=None, **parameters):
        """Sends a command; returns its result.

        Raises:
            RuntimeError: Chromium refuses it.
            TimeoutError: It does not answer.
        """
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            answer = self.receive(end)
            if "id" not in answer:
                self.events.setdefault(answer.get("sessionId"), []).append(answer)
            elif answer["id"] == self.last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def receive(self, end):
        """Returns the next message."""
        while b"\0" not in self.received:
            if not select.select([self.answers], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            chunk = os.read(self.answers, 2**20)
            if not chunk:
                raise RuntimeError("Chromium has ended")
            self.received += chunk
        message, self.received = self.received.split(b"\0", 1)
        return json.loads(message)

    def tab(self):
        """Opens an empty tab that shares no cookies with others."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        return Tab(self, context, attached["sessionId"])


class Tab:
    """One page, and what happens in it; a context that closes it.

    Args:
        browser: `Browser`.
        context: Its cookies' id.
        session: Its id.
    """

    def __init__(self, browser, context, session):
        self.browser = browser
        self.context = context
        self.session = session
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.resize(1280, 900)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)

    def call(self, method, **parameters):
        """Sends a command to this page; returns its result."""
        return self.browser.call(method, self.session, **parameters)

    def open(self, address):
        """Goes to an address and waits until it is there."""
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState == 'complete' && location.href != 'about:blank'")

    def resize(self, width, height, phone=False):
        """Gives the page another size; a phone also is touched and has a dense screen."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def prefer(self, scheme):
        """Has the user prefer "light" or "dark"."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def evaluate(self, expression):
        """Returns the value of an expression, awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def wait_for(self, expression):
        """Waits until an expression is true.

        Raises:
            TimeoutError: It does not become so.
        """
        end = time.monotonic() + PATIENCE
        while not self.evaluate(f"!!({expression})"):
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} stays false; the page ends: {self.text()[-500:]}")
            time.sleep(0.02)

    def text(self):
        """Returns all text that the page shows."""
        return self.evaluate("document.body.innerText")

    def pick(self, selector, path):
        """Puts a file into a file input, as its dialogue does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def middle(self, selector):
        """Returns where the middle of an element is, once it has been scrolled to."""
        box = f"document.querySelector({json.dumps(selector)})"
        return self.evaluate(
            f"{box}.scrollIntoView({{block: 'center', behavior: 'instant'}}),"
            f"(({{x, y, width, height}}) => ({{x: x + width / 2, y: y + height / 2}}))"
            f"({box}.getBoundingClientRect())"
        )

    def click(self, selector):
        """Clicks in the middle of an element."""
        where = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)

    def drop(self, selector, path):
        """Drags a file from outside onto an element and lets it go there."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, data=data, **self.middle(selector))

    def press(self, key, shift=False):
        """Presses a key."""
        code, text = KEYS[key]
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=text if key == "Space" else key,
                code=key,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
                modifiers=SHIFT if shift else 0,
            )

    def type(self, text):
        """Types a text where the focus is."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path):
        """Writes what the window shows as a PNG."""
        answer = self.call("Page.captureScreenshot")
        with open(path, "wb") as file:
            file.write(base64.b64decode(answer["data"]))

    def happened(self, event):
        """Returns the parameters of all events of a name so far."""
        self.evaluate("0")  # whatever came before the answer is read with it
        mine = self.browser.events.get(self.session, [])
        return [one["params"] for one in mine if one["method"] == event]

    def complaints(self):
        """Returns what the console shows: messages, errors, and what the browser refused."""
        said = self.happened("Runtime.consoleAPICalled")
        thrown = self.happened("Runtime.exceptionThrown")
        logged = self.happened("Log.entryAdded")
        return (
            [" ".join(str(one.get("value")) for one in message["args"]) for message in said]
            + [one["exceptionDetails"]["exception"]["description"] for one in thrown]
            + [one["entry"]["text"] for one in logged]
        )

    def hosts(self):
        """Returns the hosts, with their ports, that something was asked of."""
        requests = self.happened("Network.requestWillBeSent")
        asked = [urlsplit(one["request"]["url"]) for one in requests]
        return {address.netloc for address in asked if address.scheme not in ("data", "blob")}
