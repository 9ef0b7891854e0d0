"""redis-py, used as with Redis, in both versions of the protocol.

Usage: plain.py PRIMARY BACKUP, each HOST:PORT
"""

import sys

import redis


def same(got, expected):
    if got != expected:
        raise AssertionError(f"{got!r}, not {expected!r}")


def fails(kind, words, call):
    try:
        got = call()
    except kind as error:
        if words not in str(error):
            raise AssertionError(f"{error}, not {words}") from error
    else:
        raise AssertionError(f"{got!r}, no error")


def families(client):
    same(client.ping(), True)
    same(client.set("word", "one", ex=100), True)
    same(client.set("word", "two", nx=True), None)
    same(client.set("word", "three", get=True, keepttl=True), "one")
    same(client.append("word", "!"), 6)
    same(client.getrange("word", 0, 3), "thre")
    same(0 < client.ttl("word") <= 100, True)
    same(client.mset({"k1": 1, "k2": "zwei"}), True)
    same(client.mget("k1", "none", "k2"), ["1", None, "zwei"])
    same(client.incrby("count", 5), 5)
    same(client.incrbyfloat("float", 0.5), 0.5)
    same(client.hset("hash", mapping={"a": 1, "b": "x"}), 2)
    same(client.hgetall("hash"), {"a": "1", "b": "x"})
    same(client.hincrby("hash", "a", 2), 3)
    same(dict(client.hscan_iter("hash")), {"a": "3", "b": "x"})
    same(client.rpush("list", *range(5)), 5)
    same(client.lrange("list", 1, -2), ["1", "2", "3"])
    same(client.lpop("list", 2), ["0", "1"])
    same(client.linsert("list", "before", "3", "x"), 4)
    same(client.sadd("set", "a", "b", "c"), 3)
    same(client.smembers("set"), {"a", "b", "c"})
    same(client.sinter("set", "set"), {"a", "b", "c"})
    same(client.spop("set") in {"a", "b", "c"}, True)
    same(client.scard("set"), 2)
    same(client.zadd("sorted", {"a": 1, "b": 2.5}), 2)
    pairs = client.zrange("sorted", 0, -1, withscores=True)
    same([tuple(pair) for pair in pairs], [("a", 1.0), ("b", 2.5)])
    same(client.zincrby("sorted", 2, "a"), 3.0)
    same(client.zrank("sorted", "a"), 1)
    same(client.zscore("sorted", "none"), None)
    same(client.type("sorted"), "zset")
    same(client.exists("word", "hash", "none"), 2)
    same(set(client.scan_iter(match="k?")), {"k1", "k2"})
    same(client.rename("k1", "k3"), True)
    same(client.expire("k3", 50), True)
    same(client.persist("k3"), True)
    same(client.delete("k2", "k3"), 2)
    same(client.client_setname("me"), True)
    same(client.client_getname(), "me")
    same(any(one["name"] == "me" for one in client.client_list()), True)
    same(client.info("server")["redis_mode"], "cluster")
    same(client.config_get("databases"), {"databases": "16"})
    same(client.wait(1, 0), 1)
    same(client.dbsize() > 0, True)
    fails(redis.ResponseError, "not an integer", lambda: client.incr("word"))
    fails(redis.ResponseError, "WRONGTYPE", lambda: client.lpush("word", "x"))
    fails(redis.ResponseError, "unknown command", lambda: client.execute_command("NOSUCH"))



def pipelines(client):
    pipe = client.pipeline(transaction=False)
    for _ in range(2000):
        pipe.incr("piped")
        pipe.get("piped")
    same(pipe.execute(), [it for n in range(1, 2001) for it in (n, str(n))])


def transactions(client, other):
    with client.pipeline() as pipe:
        same(pipe.set("t", 1).incr("t").get("t").execute(), [True, 2, "2"])
        pipe.watch("t")
        same(pipe.get("t"), "2")
        pipe.multi()
        pipe.incr("t")
        same(pipe.execute(), [3])
        pipe.watch("t")
        other.set("t", 10)
        pipe.multi()
        pipe.incr("t")
        fails(redis.WatchError, "", pipe.execute)
    same(client.get("t"), "10")

    def double(pipe):
        value = int(pipe.get("t"))
        if value == 10:
            other.set("t", 11)  # once: it is tried again
        pipe.multi()
        pipe.set("t", value * 2)

    same(client.transaction(double, "t"), [True])
    same(client.get("t"), "22")


def cluster(address):
    host, port = address.rsplit(":", 1)
    client = redis.RedisCluster(host=host, port=int(port), decode_responses=True)
    same(client.set("{tag}a", 1), True)
    same(client.mset_nonatomic({"x": 1, "y": 2, "z": 3}), [True] * 3)
    same(client.mget("{tag}a", "{tag}b"), ["1", None])
    same([client.get(key) for key in "xyz"], ["1", "2", "3"])
    pipe = client.pipeline()
    for number in range(500):
        pipe.set(f"key{number}", number)
        pipe.get(f"key{number}")
    same(pipe.execute(), [it for n in range(500) for it in (True, str(n))])
    same(client.cluster_keyslot("foo"), 12182)
    same(client.cluster_info()["cluster_state"], "ok")
    same(len(client.get_primaries()), 1)
    same(len(client.get_replicas()), 1)
    client.close()


def main():
    primary, backup = sys.argv[1:]
    host, port = primary.rsplit(":", 1)
    for protocol in (2, 3):
        client, other = (
            redis.Redis(host=host, port=int(port), protocol=protocol, decode_responses=True) for _ in range(2)
        )
        client.flushall()
        families(client)
        pipelines(client)
        transactions(client, other)
        client.close()
    # Whichever of them is asked first.
    cluster(primary)
    cluster(backup)
    print("all of it is as with Redis")


main()
