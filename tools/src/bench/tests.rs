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
fn what_no_native_client_measures_is_refused_before_anything_is_started() {
    for arguments in [
        ["--protocol", "native", "--request", "get"].as_slice(),
        &["--against", "relay,native", "--request", "get"],
        &["--against", "native", "--rate", "5"],
    ] {
        let error = check(&parse(arguments).unwrap()).unwrap_err();
        assert_eq!(error.exit_status(), EXIT_MISUSED);
        assert!(error.to_string().contains("--protocol resp"), "{error}");
    }
    assert!(parse(&["--rate", "5", "--depth", "2"]).is_err());
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
