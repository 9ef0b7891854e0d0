//! How a failure is shown.

use crate::both::Request;

/// Requests that are shown when replies differ.
const SHOWN: usize = 40;
/// Bytes of a reply or an argument that are shown.
const BYTES_SHOWN: usize = 2_000;

pub(crate) fn request(request: &Request) -> String {
    let words = request.iter().map(|word| format!("\"{}\"", bytes(word)));
    words.collect::<Vec<String>>().join(" ")
}

fn bytes(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(BYTES_SHOWN)];
    let dots = if shown.len() < bytes.len() { ".." } else { "" };
    format!("{}{dots}", shown.escape_ascii())
}

/// Says what was asked before, what was asked, and what either answered.
pub(crate) fn fail(
    title: &str,
    history: &[Request],
    asked: &Request,
    ours: &[u8],
    theirs: &[u8],
) -> ! {
    let recent = history.iter().rev().take(SHOWN).rev();
    let recent: Vec<String> = recent.map(request).collect();
    panic!(
        "{title}\n{}\nasked: {}\nours:  {}\nredis: {}",
        recent.join("\n"),
        request(asked),
        bytes(ours),
        bytes(theirs)
    );
}
