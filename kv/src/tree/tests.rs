//! Where a search begins.

use super::*;

#[test]
fn the_place_of_a_hash_is_expected_where_it_would_be_if_all_lay_evenly() {
    let place = |hash: u64, low, high, count| hash.expected_place(Some(low), Some(high), count);
    let max = u64::MAX;
    assert_eq!(place(0, 0, max, 64), Some(0));
    assert_eq!(place(max, 0, max, 64), Some(64));
    assert_eq!(place(max / 2 + 1, 0, max, 64), Some(32));
    assert_eq!(place(1 << 62, 1 << 62, 1 << 63, 64), Some(0));
    assert_eq!(place(3 << 61, 1 << 62, 1 << 63, 64), Some(32));
    // Where few bits are left.
    assert_eq!(place(max - 50, max - 99, max, 100), Some(49));
    assert_eq!(place(7, 7, 7, 10), Some(0));
    // Not between them.
    assert_eq!(place(3, 7, 9, 10), Some(0));
    assert_eq!(place(max, 7, 9, 10), Some(10));
    assert_eq!(7_u64.expected_place(None, Some(9), 10), None);
    assert_eq!(7_u64.expected_place(Some(1), None, 10), None);
}

#[test]
fn most_hashes_that_lie_evenly_are_within_reach_of_where_they_are_expected() {
    let mixed = |number: u64| {
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let mut tree: Tree<u64, u64> = Tree::default();
    let mut sorted: Vec<u64> = (0..100_000).map(mixed).collect();
    sorted.sort_unstable();
    sorted.iter().for_each(|hash| tree.push(*hash, *hash));
    let mut near = 0;
    for hash in &sorted {
        let (mut node, mut bounds) = (&*tree.root, Bounds::between(0, u64::MAX));
        loop {
            let place = node.place_of(*hash, bounds);
            if let Some(child) = node.children.get(place) {
                bounds = bounds.below(node, place);
                node = &child.node;
                continue;
            }
            let count = node.items.len();
            let expected = hash.expected_place(bounds.low, bounds.high, count);
            near += usize::from(expected.is_some_and(|it| it.abs_diff(place) <= REACH));
            break;
        }
    }
    assert!(near > sorted.len() / 2, "{near}");
}
