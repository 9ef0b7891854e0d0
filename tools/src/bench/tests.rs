//! The arguments, and what they lead to.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: BenchArgs,
}

fn parse(arguments: &[&str]) -> Result<BenchArgs, clap::Error> {
    let all = ["bench"].iter().chain(arguments);
    Cli::try_parse_from(all).map(|cli| cli.args)
}

#[test]
fn all_shapes_are_measured_unless_a_number_is_given() {
    assert_eq!(shapes(&parse(&[]).unwrap()), SHAPES);
    let shape = |connections, pace| vec![Shape { connections, pace }];
    for (arguments, connections, pace) in [
        (["--connections", "8"].as_slice(), 8, Pace::Closed(16)),
        (&["--depth", "2"], 50, Pace::Closed(2)),
        (&["--rate", "700"], 50, Pace::Open(700)),
        (&["--rate", "9", "--connections", "3"], 3, Pace::Open(9)),
    ] {
        let expected = shape(connections, pace);
        assert_eq!(
            shapes(&parse(arguments).unwrap()),
            expected,
            "{arguments:?}"
        );
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    for bad in [
        ["--connections", "0"],
        ["--connections", "10001"],
        ["--idle", "20001"],
        ["--keys", "0"],
        ["--value-bytes", "0"],
        ["--value-bytes", "65537"],
        ["--busy-poll", "10001"],
        ["--depth", "17"],
        ["--rate", "0"],
        ["--request", "flushall"],
        ["--seconds", "0"],
        ["--rounds", "0"],
        ["--durability", "tape"],
        ["--against", "memcached"],
    ] {
        assert!(parse(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_started() {
    for (arguments, instead) in [
        (
            ["--protocol", "native", "--rate", "5"].as_slice(),
            "--protocol resp",
        ),
        (&["--against", "native", "--rate", "5"], "--protocol resp"),
        (&["--against", "etcd", "--rate", "5"], "leave out --rate"),
        (
            &["--against", "fdatasync", "--rate", "5"],
            "leave out --rate",
        ),
        (&["--against", "lease"], "--request get"),
        (&["--against", "lease", "--request", "set"], "--request get"),
        (&["--value-bytes", "16"], "leave out --value-bytes"),
        (
            &["--against", "etcd", "--connections", "1000"],
            "16000 requests in flight",
        ),
    ] {
        let error = check(&parse(arguments).unwrap()).unwrap_err();
        assert_eq!(error.exit_status(), EXIT_MISUSED);
        assert!(error.to_string().contains(instead), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
    assert!(parse(&["--rate", "5", "--depth", "2"]).is_err());
    check(&parse(&["--against", "native,lease", "--request", "get"]).unwrap()).unwrap();
}

#[test]
fn etcd_needs_a_connection_for_each_request_in_flight() {
    let of = |arguments: &[&str]| connections_of_each(&parse(arguments).unwrap());
    assert_eq!(of(&[]), 50);
    assert_eq!(of(&["--against", "etcd"]), 800);
    assert_eq!(of(&["--against", "etcd", "--depth", "2"]), 100);
}

#[test]
fn each_contender_of_redis_has_a_name_of_its_own() {
    let all = Against::value_variants().iter();
    let named: Vec<(String, &str)> = all
        .filter_map(|against| {
            let kind = against.of_redis()?;
            let typed = against.to_possible_value()?.get_name().to_owned();
            Some((typed, kind.name))
        })
        .collect();
    assert_eq!(named.len(), 5);
    assert!(named.iter().all(|(typed, name)| typed == name), "{named:?}");
}
