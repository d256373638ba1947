"""As much of HTTP/2 and gRPC as a test needs to read along on a plain-text connection, and to be a client on one stream."""

import queue
import socket
import struct
import threading

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
MAX_FRAME = 16384


class FrameReader:
    """Bytes in, frames (type, flags, stream, payload) out."""

    def __init__(self, has_preface):
        self._buffer = b""
        self._skip = len(PREFACE) if has_preface else 0

    def feed(self, data):
        self._buffer += data
        if self._skip:
            if len(self._buffer) < self._skip:
                return
            self._buffer, self._skip = self._buffer[self._skip :], 0
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self._buffer[3:9])
            payload, self._buffer = self._buffer[9 : 9 + length], self._buffer[9 + length :]
            if kind == DATA and flags & PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            yield kind, flags, stream & 0x7FFFFFFF, payload


class MessageReader:
    """Payloads of DATA frames of one stream in, messages out."""

    def __init__(self):
        self._buffer = b""

    def feed(self, data):
        self._buffer += data
        while len(self._buffer) >= 5:
            compressed, length = struct.unpack(">BI", self._buffer[:5])
            if compressed:
                raise ValueError("a compressed message")
            if len(self._buffer) < 5 + length:
                return
            message, self._buffer = self._buffer[5 : 5 + length], self._buffer[5 + length :]
            yield message


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _text(text):
    """Its length (HPACK, RFC 7541, 5.1) and itself."""
    length = len(text)
    if length < 127:
        return bytes([length]) + text.encode()
    prefix, length = b"\x7f", length - 127
    while length >= 128:
        prefix, length = prefix + bytes([128 + length % 128]), length // 128
    return prefix + bytes([length]) + text.encode()


def _header(name, value):
    """A literal that no table takes in."""
    return b"\0" + _text(name) + _text(value)


def _headers(scheme, method, authority):
    headers = {":method": "POST", ":scheme": scheme, ":path": method, ":authority": authority, "te": "trailers",
               "content-type": "application/grpc"}  # fmt: skip
    return b"".join(_header(name, value) for name, value in headers.items())


class EmptyCalls:
    """A client that makes calls without a message on a connection that is there (of TLS, say), many at once, and does not care for answers."""

    def __init__(self, connection, authority):
        self._connection = connection
        self._authority = authority
        self._frames = FrameReader(has_preface=False)
        self._next = 1
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0))

    def make(self, methods):
        """Returns when each was answered."""
        waiting = set()
        for method in methods:
            waiting.add(self._next)
            self._open(method)
        while waiting:
            data = self._connection.recv(65536)
            if not data:
                raise ConnectionError("the connection has ended")
            for kind, flags, stream, payload in self._frames.feed(data):
                if kind == SETTINGS and not flags & ACK:
                    self._connection.sendall(frame(SETTINGS, ACK, 0))
                elif kind == PING and not flags & ACK:
                    self._connection.sendall(frame(PING, ACK, 0, payload))
                elif kind == GOAWAY:
                    raise ConnectionError(payload[8:].decode(errors="replace"))
                elif kind == RST_STREAM or flags & END_STREAM and kind in (DATA, HEADERS):
                    waiting.discard(stream)

    def make_and_reset(self, method, count):
        """Opens streams and takes each back at once."""
        for _ in range(count):
            stream = self._next
            self._open(method, frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))

    def _open(self, method, more=b""):
        headers = _headers("https", method, self._authority)
        self._connection.sendall(frame(HEADERS, END_HEADERS | END_STREAM, self._next, headers) + more)
        self._next += 2


class BidiStream:
    """A client's side of one call that streams both ways. `messages` is a queue of what comes, with None at the end."""

    def __init__(self, address, method):
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        self._socket.settimeout(None)
        self._changed = threading.Condition()
        self._window = {0: 65535, 1: 65535}  # what may still be sent: on the connection, on the stream
        self._closed = False
        self.messages = queue.Queue()
        self._write(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, _headers("http", method, address)))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _write(self, data):
        self._socket.sendall(data)

    def send(self, message):
        self.send_bytes(struct.pack(">BI", 0, len(message)) + message)

    def send_bytes(self, data):
        """As much of a message as one likes, or what is none."""
        while data:
            with self._changed:
                if not self._changed.wait_for(lambda: self._closed or min(self._window.values()) > 0, 20):
                    raise TimeoutError("the other side does not read")
                if self._closed:
                    raise ConnectionError("the call has ended")
                size = min(MAX_FRAME, len(data), *self._window.values())
                for number in self._window:
                    self._window[number] -= size
                self._write(frame(DATA, 0, 1, data[:size]))
            data = data[size:]

    def _read(self):
        frames, messages = FrameReader(has_preface=False), MessageReader()
        try:
            while data := self._socket.recv(65536):
                for kind, flags, stream, payload in frames.feed(data):
                    with self._changed:
                        self._take(kind, flags, stream, payload)
                    if kind == DATA:
                        for message in messages.feed(payload):
                            self.messages.put(message)
                    if kind in (RST_STREAM, GOAWAY) or kind in (DATA, HEADERS) and flags & END_STREAM:
                        return
        except OSError:
            pass
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            self.messages.put(None)

    def _take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack_from(">HI", payload, at)
                if name == 4:  # the window that streams begin with
                    self._window[1] += value - 65535
            self._write(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._write(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            if stream in self._window:
                self._window[stream] += struct.unpack(">I", payload)[0]
        elif kind == DATA and payload:
            grant = struct.pack(">I", len(payload))
            self._write(frame(WINDOW_UPDATE, 0, 0, grant) + frame(WINDOW_UPDATE, 0, 1, grant))
        self._changed.notify_all()

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(10)
        self._socket.close()


class RecordingProxy:
    """Stands between one client and a server and notes each message, in the order in which they pass: `passed` is a list of (side, message)."""

    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self.passed = []
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        server = socket.create_connection(self._target)
        self._sockets = [client, server]
        for side, source, sink in (("worker", client, server), ("coordinator", server, client)):
            threading.Thread(target=self._pass, args=(side, source, sink), daemon=True).start()

    def _pass(self, side, source, sink):
        frames, messages = FrameReader(has_preface=side == "worker"), MessageReader()
        try:
            while data := source.recv(65536):
                with self._lock:
                    for kind, _, _, payload in frames.feed(data):
                        if kind == DATA:
                            self.passed += [(side, message) for message in messages.feed(payload)]
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self._listener.close()
        for one in self._sockets:
            one.close()
