"""A client of redis-py that counts, and finds the primary among the replicas by itself, until standard input ends.

Usage: cluster.py HOST:PORT...

Prints a line after every further hundred answers. Directly at a replica a command whose connection broke may have been
executed, and the client repeats it then: the counter may be higher than what was answered, but each answer is higher
than the one before, and none is lost. The last line says so, or what is wrong; the exit status is 0 or 1.
"""

import sys
import threading

from redis.cluster import ClusterNode, RedisCluster

LINE_EVERY = 100


def main():
    nodes = [ClusterNode(host, int(port)) for host, port in (address.rsplit(":", 1) for address in sys.argv[1:])]
    # As it is made by default: it tries a command some times, without pauses, and asks the others in between.
    client = RedisCluster(startup_nodes=nodes)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    answers, last = 0, 0
    while not ended.is_set():
        value = client.incr("count")
        if value <= last:
            print(f"{value} was answered after {last}", flush=True)
            sys.exit(1)
        last = value
        answers += 1
        if answers % LINE_EVERY == 0:
            print("answers", answers, flush=True)
    value = int(client.get("count"))
    if value < last or last < answers:
        print(f"the counter is {value} after {answers} answers up to {last}", flush=True)
        sys.exit(1)
    print(f"{answers} answers up to {last}; the counter is {value}", flush=True)


main()
