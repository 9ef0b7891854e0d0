//! The properties in words: what a failure says besides the property's name.

/// Each property by its name, and what it demands. `docs/determinism.md` tells what it means for the author of a machine.
const WORDS: [(&str, &str); 29] = [
    ("S1", "the view rises by one with each change"),
    ("S2", "the entries of a view are all made by one replica"),
    (
        "S3",
        "logs that have an entry in common are the same before it",
    ),
    (
        "S4",
        "every answered entry is on each replica that may become primary",
    ),
    ("S5", "a primary has every entry that was answered before"),
    ("S6", "no entry is answered in two ways"),
    ("S7", "a replica follows no view that is over"),
    ("S8", "what is committed and applied never goes back"),
    ("S9", "nothing that was committed or applied is cut off"),
    (
        "S10",
        "the same entries lead to the same replies and the same state",
    ),
    (
        "S11",
        "a command is executed once, and a repeat gets the same reply",
    ),
    (
        "S12",
        "clients see one history: an answer is what the commands before it lead to",
    ),
    ("S13", "only the active primary answers"),
    (
        "S14",
        "only a replica that has every answered entry becomes primary",
    ),
    (
        "S15",
        "nothing is answered before a replica that may take over has it",
    ),
    ("S16", "logged time never falls, and no timer is early"),
    ("S17", "nothing damaged or foreign is applied"),
    (
        "S18",
        "damage ends in \"unavailable, and why\", never in a wrong answer",
    ),
    ("C1", "at most one lease is valid at a time"),
    ("C2", "a read by lease sees all that was answered before"),
    ("L1", "a replica that can serve does so in time"),
    ("L2", "a second replica follows, and all calls return"),
    (
        "L3",
        "a replica that gets on with nothing loses its role in time",
    ),
    ("L4", "the cluster comes to rest"),
    ("L5", "queues, memory and work stay within their bounds"),
    ("RESP", "Redis clients are sent to the primary"),
    (
        "REPLAY",
        "a replay of what is on a disk leads to the same replies and the same state",
    ),
    (
        "room",
        "a full disk is told of, and stops nobody who has room",
    ),
    (
        "version",
        "nobody executes a version of the machine that the program does not have",
    ),
];

/// What the property of that name demands.
pub(crate) fn words(name: &str) -> &'static str {
    let found = WORDS.iter().find(|(property, _)| *property == name);
    found.map_or("an assertion of the program holds", |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_property_is_explained_to_authors_of_machines_in_the_same_words() {
        let page = include_str!("../../../docs/determinism.md");
        for (name, words) in WORDS {
            let row = format!("| {name} | {words} |");
            assert!(page.contains(&row), "docs/determinism.md has no '{row}'");
        }
        assert!(page.contains(&format!("| assertion | {} |", words("assertion"))));
    }
}
