//! The latest replies: what was answered, and the chain over all of them at each entry.
//!
//! A follower's acknowledgements are held against the chain. The replies are for people: when another replica's differ, they
//! show which was the first (`standin_core::evidence`).

use standin_core::digest::DigestChain;
use standin_core::entry::Index;
use standin_core::evidence::{EVIDENCE_REPLIES_MAX, KeptReply, REPLY_KEPT_BYTES_MAX};
use standin_core::message::ReplyStatus;

/// Entries that are remembered. A follower further behind is compared later.
const REPLIES_KEPT: u64 = EVIDENCE_REPLIES_MAX as u64;
/// Bytes of replies that are remembered, all together.
pub const REPLY_BYTES_KEPT: usize = 2 << 20;
const _: () = assert!(REPLY_KEPT_BYTES_MAX < REPLY_BYTES_KEPT, "each has room");

/// The outcome of each of the newest entries.
#[derive(Clone, Debug)]
pub(crate) struct ReplyLog {
    chains: Vec<u128>,
    heads: Vec<Head>,
    /// The first bytes of replies, one behind the other; what is newest takes the place of what is oldest. None stands
    /// across the end.
    bytes: Vec<u8>,
    /// How many bytes were put there, in all.
    put: u64,
    /// The first entry that was remembered, whether or not it still is. Of it there is the chain, and no reply.
    first: u64,
    last: u64,
}

/// One reply.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// Where its bytes begin, in all that were put.
    at: u64,
    length: u32,
    status: u8,
}

impl ReplyLog {
    /// What is remembered when a state stands after the entry at `index`.
    pub(crate) fn beginning(index: Index, chain: DigestChain) -> Self {
        let mut log = Self {
            chains: Vec::new(),
            heads: Vec::new(),
            bytes: Vec::new(),
            put: 0,
            first: index.0,
            last: index.0,
        };
        log.push(index, chain, ReplyStatus::Done, &[]);
        log
    }

    /// Remembers the outcome of the next entry: the chain up to it, and its own.
    pub(crate) fn push(
        &mut self,
        index: Index,
        chain: DigestChain,
        status: ReplyStatus,
        reply: &[u8],
    ) {
        let place = place(index.0);
        if self.chains.len() <= place {
            self.chains.resize(place + 1, 0);
            self.heads.resize(place + 1, Head::default());
        }
        self.chains[place] = chain.0;
        let at = self.put_bytes(&reply[..reply.len().min(REPLY_KEPT_BYTES_MAX)]);
        self.heads[place] = Head {
            at,
            length: u32::try_from(reply.len()).expect("a reply's length is bounded"),
            status: status as u8,
        };
        self.last = index.0;
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> u64 {
        let mut place = ring_place(self.put);
        if place + bytes.len() > REPLY_BYTES_KEPT {
            self.put += (REPLY_BYTES_KEPT - place) as u64;
            place = 0;
        }
        if self.bytes.len() < place + bytes.len() {
            self.bytes.resize(place + bytes.len(), 0);
        }
        self.bytes[place..place + bytes.len()].copy_from_slice(bytes);
        let at = self.put;
        self.put += bytes.len() as u64;
        at
    }

    /// Whether `digest` at `index` contradicts what is remembered. What is not remembered contradicts nothing.
    pub(crate) fn contradicts(&self, index: Index, digest: u128) -> bool {
        self.chain_at(index.0).is_some_and(|kept| kept != digest)
    }

    fn chain_at(&self, index: u64) -> Option<u128> {
        let is_known = index > 0 && (self.first..=self.last).contains(&index);
        let is_kept = is_known && self.last - index < REPLIES_KEPT;
        let chain = self.chains.get(place(index)).copied();
        chain.filter(|_| is_kept)
    }

    /// The entry before the first whose reply is remembered, the chain up to there, and the replies from there on.
    pub(crate) fn evidence(&self) -> (Index, DigestChain, Vec<KeptReply>) {
        let oldest = (self.last + 1).saturating_sub(REPLIES_KEPT);
        let before = self.first.max(oldest);
        let chain = match before {
            0 => DigestChain::default(),
            before => DigestChain(self.chains[place(before)]),
        };
        let replies = (before + 1..=self.last).map(|index| self.kept(index));
        (Index(before), chain, replies.collect())
    }

    fn kept(&self, index: u64) -> KeptReply {
        let head = self.heads[place(index)];
        let kept = (head.length as usize).min(REPLY_KEPT_BYTES_MAX);
        // What was put since has not come round to it.
        let is_there = self.put - head.at <= REPLY_BYTES_KEPT as u64;
        let at = ring_place(head.at);
        KeptReply {
            chain: DigestChain(self.chains[place(index)]),
            status: head.status,
            length: head.length,
            bytes: is_there.then(|| self.bytes[at..at + kept].to_vec()),
        }
    }
}

fn place(index: u64) -> usize {
    usize::try_from(index % REPLIES_KEPT).expect("below 65,536")
}

fn ring_place(at: u64) -> usize {
    usize::try_from(at % REPLY_BYTES_KEPT as u64).expect("below the length of the ring")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(log: &mut ReplyLog, index: u64, reply: &[u8]) {
        let chain = DigestChain(u128::from(index));
        log.push(Index(index), chain, ReplyStatus::Done, reply);
    }

    #[test]
    fn a_digest_is_compared_as_long_as_it_is_kept() {
        let mut log = ReplyLog::beginning(Index::ZERO, DigestChain::default());
        for index in 1..=REPLIES_KEPT + 10 {
            push(&mut log, index, b"");
        }
        let newest = REPLIES_KEPT + 10;
        assert!(!log.contradicts(Index(newest), u128::from(newest)));
        assert!(log.contradicts(Index(newest), 1));
        assert!(log.contradicts(Index(11), 1));
        assert!(!log.contradicts(Index(10), 1), "no longer kept");
        assert!(!log.contradicts(Index(newest + 1), 1), "not there yet");
        assert!(!log.contradicts(Index(0), 1));
        let (before, chain, replies) = log.evidence();
        assert_eq!((before, chain), (Index(11), DigestChain(11)));
        assert_eq!(replies.len() as u64, REPLIES_KEPT - 1);
    }

    #[test]
    fn what_came_before_a_snapshot_contradicts_nothing() {
        let mut log = ReplyLog::beginning(Index(500), DigestChain(7));
        assert!(log.contradicts(Index(500), 1));
        assert!(!log.contradicts(Index(500), 7));
        assert!(!log.contradicts(Index(499), 1));
        log.push(Index(501), DigestChain(8), ReplyStatus::Skipped, b"yes");
        assert!(log.contradicts(Index(501), 1));
        assert!(!log.contradicts(Index(499), 1));
        let only = KeptReply {
            chain: DigestChain(8),
            status: ReplyStatus::Skipped as u8,
            length: 3,
            bytes: Some(b"yes".to_vec()),
        };
        assert_eq!(log.evidence(), (Index(500), DigestChain(7), vec![only]));
    }

    #[test]
    fn the_newest_replies_are_remembered_and_of_a_long_one_its_beginning() {
        let mut log = ReplyLog::beginning(Index::ZERO, DigestChain::default());
        // Several times round, and not in even steps.
        let reply = |index: u64| {
            vec![u8::try_from(index % 251).expect("small"); 300 + (index % 7) as usize * 50]
        };
        let newest = 30_000;
        for index in 1..=newest {
            push(&mut log, index, &reply(index));
        }
        let (_, _, replies) = log.evidence();
        let (mut there, mut is_gone) = (0, true);
        for (place, kept) in replies.iter().enumerate() {
            let whole = reply(place as u64 + 1);
            assert_eq!(kept.length as usize, whole.len());
            assert!(is_gone || kept.bytes.is_some(), "the oldest go first");
            if let Some(bytes) = &kept.bytes {
                is_gone = false;
                there += bytes.len();
                assert_eq!(bytes, &whole[..whole.len().min(REPLY_KEPT_BYTES_MAX)]);
            }
        }
        assert!(
            there > REPLY_BYTES_KEPT - 2 * REPLY_KEPT_BYTES_MAX,
            "{there}"
        );
        assert!(there <= REPLY_BYTES_KEPT, "{there}");
    }
}
