//! `standin bench`, with real processes.

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standin"));
    command.arg("bench").args(arguments);
    // Flags may also be given as environment variables, and these tests mean their own.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("STANDIN_") {
            command.env_remove(variable);
        }
    }
    command
        .output()
        .expect("the binary was built for this test")
}

#[test]
fn standin_and_the_relay_are_measured_in_one_run() {
    let arguments = [
        "--against",
        "relay",
        "--connections",
        "3",
        "--depth",
        "4",
        "--seconds",
        "1",
        "--rounds",
        "1",
        "--json",
    ];
    let output = bench(&arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let shape = &report["shapes"][0];
    assert_eq!(
        (&shape["connections"], &shape["depth"]),
        (&3.into(), &4.into())
    );
    for service in ["relay", "standin"] {
        let medians = &shape["medians"][service];
        assert!(medians["throughput"].as_f64().unwrap() > 0.0, "{text}");
        assert!(
            medians["p50_us"].as_u64() <= medians["p99_us"].as_u64(),
            "{text}"
        );
    }
    assert!(
        shape["ratios"][0]["median"].as_f64().unwrap() > 0.0,
        "{text}"
    );
}

#[test]
fn what_this_version_cannot_measure_is_misuse() {
    let output = bench(&["--against", "redis"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("--against relay"), "{error}");
}
