"""Clients of redis-py that count and push items of their own through gateways until standard input ends.

Usage: gateway.py HOST:PORT...

Prints a line each time every client has had further answers. In the end the state must be exactly what was answered,
and each client must have had one connection. The last line says so, or what is wrong; the exit status is 0 or 1.
"""

import sys
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

CLIENTS = 6
PAGE = 1000


class CountingConnection(redis.Connection):
    """A connection that counts how often one was made."""

    made = 0
    lock = threading.Lock()

    def _connect(self):
        with CountingConnection.lock:
            CountingConnection.made += 1
        return super()._connect()


def connect(address):
    host, port = address.rsplit(":", 1)
    pool = redis.ConnectionPool(
        connection_class=CountingConnection,
        host=host,
        port=int(port),
        max_connections=1,
        # An error is an error: nothing is tried again by the client.
        retry=Retry(NoBackoff(), 0),
    )
    return redis.Redis(connection_pool=pool)


class Client(threading.Thread):
    def __init__(self, name, address, stop):
        super().__init__(name=name)
        self.address = address
        self.stop = stop
        self.counts = []
        self.pushed = []
        self.slowest = 0.0
        self.error = None

    def run(self):
        try:
            client = connect(self.address)
            first = client.client_id()
            while not self.stop.is_set():
                began = time.monotonic()
                self.counts.append(client.incr("count"))
                item = f"{self.name}-{len(self.pushed)}"
                self.pushed.append((client.lpush("items", item), item))
                self.slowest = max(self.slowest, time.monotonic() - began)
            if client.client_id() != first:
                raise AssertionError("the connection is another one")
        except BaseException as error:  # whatever it is, it is the outcome
            self.error = error


def check(clients, address):
    """Says what is wrong, or None."""
    for client in clients:
        if client.error is not None:
            return f"{client.name}: {client.error!r}"
    if CountingConnection.made != len(clients):
        return f"{CountingConnection.made} connections were made by {len(clients)} clients"
    counts = sorted(count for client in clients for count in client.counts)
    if counts != list(range(1, len(counts) + 1)):
        return "INCR was not answered with each number once"
    pushed = sorted(pair for client in clients for pair in client.pushed)
    if [length for length, _ in pushed] != list(range(1, len(pushed) + 1)):
        return "LPUSH was not answered with each length once"
    last = connect(address)
    if int(last.get("count")) != len(counts):
        return f"the counter is {last.get('count')}, not {len(counts)}"
    items = []
    while page := last.lrange("items", len(items), len(items) + PAGE - 1):
        items.extend(item.decode() for item in page)
    if items[::-1] != [item for _, item in pushed]:
        return "the list is not what was pushed, in the order of the answers"
    return None


def main():
    addresses = sys.argv[1:]
    stop = threading.Event()
    clients = [Client(f"c{at}", addresses[at % len(addresses)], stop) for at in range(CLIENTS)]
    for client in clients:
        client.start()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    before = [0] * CLIENTS
    while not ended.wait(0.05):
        if any(client.error for client in clients):
            break
        now = [len(client.pushed) for client in clients]
        if all(map(int.__lt__, before, now)):
            print("answers", sum(now), flush=True)
            before = now
    stop.set()
    for client in clients:
        client.join()
    wrong = check(clients, addresses[0])
    total = sum(len(client.counts) + len(client.pushed) for client in clients)
    slowest = max(client.slowest for client in clients)
    print(wrong or f"{total} answers, each as it should be; the slowest two took {slowest * 1000:.0f} ms", flush=True)
    sys.exit(1 if wrong else 0)


main()
