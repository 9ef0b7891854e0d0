//! What the answers to reads of Redis clients rest on.

use std::time::Duration;

use super::{connect, start_with};
use crate::support::resp::text;

/// So long that nobody is dropped for its silence while this test asks.
const LEASE: Duration = Duration::from_secs(60);

#[test]
fn reads_that_rest_on_the_lease_are_answered_while_the_backup_is_frozen() {
    let lease_reads = ["--resp-reads", "lease"];
    let mut scene = start_with("lease reads", &["a", "b"], LEASE, &lease_reads);
    let pair = scene.until_pair();
    let mut client = connect(&scene, &pair.primary);
    assert_eq!(text(&client.ask(&["SET", "k", "v"])), "OK");
    // Read once before, so that the lease was renewed by a primary that serves.
    assert_eq!(text(&client.ask(&["GET", "k"])), "v");

    scene.freeze(&pair.backup);
    for _ in 0..10 {
        assert_eq!(text(&client.ask(&["GET", "k"])), "v");
    }
    // It was not asked, and neither was it dropped: then nobody else could be primary, and no lease would be needed.
    assert_eq!(scene.until_pair(), pair);
}
