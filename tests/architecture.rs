//! The arrows of ARCHITECTURE.md: which crate may depend on which.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// For each crate, the ones of ours that it may depend on.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("core", &[]),
    ("io", &["core"]),
    ("viewservice", &["core", "io"]),
    ("primary", &["core"]),
    ("backup", &["core"]),
    ("replica", &["core", "primary", "backup"]),
    ("resp", &[]),
    ("kv", &["core", "resp"]),
    ("client", &["core", "io"]),
    (
        "tools",
        &[
            "core",
            "io",
            "viewservice",
            "primary",
            "backup",
            "replica",
            "client",
            "resp",
            "kv",
        ],
    ),
];

/// Crates whose code decides and touches nothing: they get no dependency beyond ours.
const PURE: [&str; 3] = ["primary", "backup", "replica"];

/// The names under `[dependencies]` in a crate's manifest.
fn dependencies(room: &str) -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(room)
        .join("Cargo.toml");
    let text = fs::read_to_string(manifest).expect("every room has a manifest");
    text.lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn dependencies_run_one_way() {
    for (room, allowed) in ALLOWED {
        for name in dependencies(room) {
            if let Some(ours) = name.strip_prefix("standin-") {
                assert!(allowed.contains(&ours), "{room} may not depend on {ours}");
            }
        }
    }
}

/// Bugs can be planted in tests alone: no manifest asks for the feature outside of its `[features]` and
/// `[dev-dependencies]`, and no crate has features that are on by default. (With the feature, nothing
/// compiles without debug assertions: `core/src/planted.rs`.)
#[test]
fn no_build_but_a_test_can_have_bugs_planted() {
    let rooms = ALLOWED.iter().map(|(room, _)| *room);
    for room in rooms.chain(["."]) {
        let manifest = fs::read_to_string(Path::new(room).join("Cargo.toml"));
        let manifest = manifest.expect("every room has a manifest");
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            assert!(
                !line.starts_with("default ="),
                "{room} has default features"
            );
            let is_for_tests = ["[features]", "[dev-dependencies]"].contains(&section);
            assert!(
                is_for_tests || !line.contains("planted-bugs"),
                "{section} of {room} asks for planted bugs"
            );
        }
    }
}

#[test]
fn pure_crates_depend_on_nothing_but_ours() {
    for room in PURE {
        let foreign: Vec<String> = dependencies(room)
            .into_iter()
            .filter(|name| !name.starts_with("standin-"))
            .collect();
        assert_eq!(
            foreign,
            Vec::<String>::new(),
            "{room} decides and touches nothing"
        );
    }
}

#[test]
fn pure_crates_forbid_clocks_files_sockets_and_hash_order() {
    let rules = fs::read_to_string("core/clippy.toml").expect("core has its rules");
    for word in [
        "SystemTime",
        "std::fs::File",
        "TcpStream",
        "HashMap",
        "std::thread::spawn",
    ] {
        assert!(rules.contains(word), "{word} is not forbidden");
    }
    for room in PURE.into_iter().chain(["kv"]) {
        let theirs = fs::read_to_string(format!("{room}/clippy.toml")).expect("rules");
        assert_eq!(theirs, rules, "{room} keeps the same rules as core");
    }
}

fn sources_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(sources_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// The decision code of the view service and the client lives beside its shell; only the shell may
/// name what touches the machine.
#[test]
fn decision_modules_do_not_import_io() {
    let shells: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("viewservice", ["daemon.rs", "store.rs"].as_slice()),
        ("client", ["blocking.rs", "driver.rs", "ask.rs"].as_slice()),
    ]);
    for (room, shells) in shells {
        for path in sources_below(&Path::new(room).join("src")) {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            if shells.contains(&name.as_str()) {
                continue;
            }
            let text = fs::read_to_string(&path).expect("readable");
            for word in ["standin_io", "std::net", "std::fs", "std::time", "mio::"] {
                assert!(!text.contains(word), "{} names {word}", path.display());
            }
        }
    }
}
