//! Any arguments are either understood or refused in one line that says where to read more.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // An argument cannot hold a zero byte, so it stands between them.
    let arguments = data.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let line = standin::cli::misuse([OsStr::new("standin")].into_iter().chain(arguments));
    if let Some(line) = line {
        assert!(line.starts_with("standin: "), "{line:?}");
        assert!(line.ends_with(" --help'"), "{line:?}");
        assert_eq!(line.lines().count(), 1, "{line:?}");
    }
});
