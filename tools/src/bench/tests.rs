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

fn workload() -> Workload {
    Workload {
        machine: "counter".to_owned(),
        command: vec![1; 9],
        reply_bytes: 9,
    }
}

#[test]
fn both_shapes_are_measured_unless_a_number_is_given() {
    assert_eq!(shapes(&parse(&[]).unwrap()), SHAPES);
    let shape = |connections, depth| vec![Shape { connections, depth }];
    assert_eq!(
        shapes(&parse(&["--connections", "8"]).unwrap()),
        shape(8, 16)
    );
    assert_eq!(shapes(&parse(&["--depth", "2"]).unwrap()), shape(50, 2));
}

#[test]
fn numbers_out_of_range_are_refused() {
    for bad in [
        ["--connections", "0"],
        ["--connections", "4097"],
        ["--depth", "17"],
        ["--seconds", "0"],
        ["--rounds", "0"],
        ["--durability", "tape"],
        ["--against", "memcached"],
    ] {
        assert!(parse(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn redis_is_refused_with_what_can_be_done_instead() {
    let args = parse(&["--against", "relay,redis-wait"]).unwrap();
    let error = measure(&args, &workload()).unwrap_err();
    assert!(error.to_string().contains("--against relay"), "{error}");
    assert_eq!(error.exit_status(), EXIT_MISUSED);
}
