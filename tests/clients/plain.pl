# Perl's client of Redis, used as with Redis. Usage: plain.pl HOST:PORT
use strict;
use warnings;
use Redis;

sub is {
    my ($got, $expected, $what) = @_;
    $got = join(" ", map { $_ // "nothing" } ref $got ? @$got : $got);
    die "$what: $got, not $expected\n" if $got ne $expected;
}

my $redis = Redis->new(server => $ARGV[0], name => "perl");
is($redis->ping, "PONG", "PING");
is($redis->client_getname, "perl", "CLIENT GETNAME");
is($redis->set(word => "one"), "OK", "SET");
is($redis->get("word"), "one", "GET");
is($redis->get("nothing"), "nothing", "GET of nothing");
is($redis->incrby(count => 5), "5", "INCRBY");
is($redis->rpush(list => 1 .. 5), "5", "RPUSH");
is([$redis->lrange("list", 1, -2)], "2 3 4", "LRANGE");
is($redis->hset(hash => a => 1, b => 2), "2", "HSET");
is($redis->sadd(set => 1, 2, 2), "2", "SADD");
is($redis->zadd(sorted => 2, "b", 1, "a"), "2", "ZADD");
is([$redis->zrange("sorted", 0, -1, "WITHSCORES")], "a 1 b 2", "ZRANGE");
is($redis->expire(word => 100), "1", "EXPIRE");
my %hash = $redis->hgetall("hash");
is($hash{b}, "2", "HGETALL");
is($redis->info->{redis_mode}, "cluster", "INFO");
eval { $redis->incr("word") };
die "INCR of a word: $@" unless $@ =~ /not an integer/;

is($redis->multi, "OK", "MULTI");
is($redis->incr("count"), "QUEUED", "INCR in MULTI");
is($redis->get("count"), "QUEUED", "GET in MULTI");
is([$redis->exec], "6 6", "EXEC");

# A pipeline: each answer is handed to its own function, in order.
my @answers;
for my $number (1 .. 1000) {
    $redis->incr("piped", sub { push @answers, $_[0] });
    $redis->get("piped", sub { push @answers, $_[0] });
}
$redis->wait_all_responses;
is(\@answers, join(" ", map { ($_, $_) } 1 .. 1000), "a pipeline");
$redis->quit;
print "all of it is as with Redis\n";
