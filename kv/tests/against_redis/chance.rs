//! Random choices, the same for the same seed.

use std::ops::Range;

use crate::times::Soon;

/// Keys where nothing else is said.
const KEYS: usize = 8;

/// Makes choices.
pub(crate) struct Chance {
    state: u64,
    /// How many keys there are.
    keys: usize,
    /// Those that are taken most of the time.
    favoured: Range<usize>,
    /// Deadlines that are waited for, if any are.
    pub(crate) soon: Option<Soon>,
    /// How many spans of time were drawn: no two are the same.
    spans: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Self {
            state: seed,
            keys: KEYS,
            favoured: 0..KEYS,
            soon: None,
            spans: 0,
        };
        // Mixed once: states of neighbouring seeds would else be one step apart, and their sequences the same.
        chance.state = chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        // splitmix64
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub(crate) fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// One of these as a word of its own.
    pub(crate) fn word(&mut self, choices: &[&str]) -> Vec<u8> {
        self.of(choices).as_bytes().to_vec()
    }

    /// A key out of a few.
    pub(crate) fn key(&mut self) -> Vec<u8> {
        let number = match self.once_in(7) {
            true => self.below(self.keys),
            false => self.favoured.start + self.below(self.favoured.len()),
        };
        format!("key:{number}").into_bytes()
    }

    /// From now on there are so many keys, and these are taken most of the time.
    pub(crate) fn favour(&mut self, keys: usize, favoured: Range<usize>) {
        (self.keys, self.favoured) = (keys, favoured);
    }

    /// A number below 100,003 that was not drawn before.
    pub(crate) fn span(&mut self) -> u64 {
        self.spans += 1;
        self.spans * 7_919 % 100_003
    }

    /// A string: integers, floats, short and long, and bytes of all kinds.
    pub(crate) fn string(&mut self) -> Vec<u8> {
        match self.below(10) {
            0 => self.word(&[
                "",
                "0",
                "-1",
                "10",
                "9223372036854775807",
                "-9223372036854775808",
            ]),
            1 => self.word(&[
                "9223372036854775808",
                "007",
                " 1",
                "+1",
                "-0",
                "1 ",
                "0x10",
                "1e3",
            ]),
            2 => self.below(100_000).to_string().into_bytes(),
            3 => format!("-{}", self.below(100_000)).into_bytes(),
            4 => self.word(&["1.5", "3.0e2", "-0.1", "inf", "nan", "1e400", "abc", "0.1"]),
            5 => vec![b'x'; [20, 21, 22, 23, 43, 44, 45, 46, 64, 65][self.below(10)]],
            6 => (0..self.below(300))
                .map(|at| u8::try_from(at % 256).unwrap())
                .collect(),
            7 => b"\r\n\0*?[".to_vec(),
            _ => format!("value{}", self.below(30)).into_bytes(),
        }
    }

    /// An integer as an argument, at times one that is none.
    pub(crate) fn integer(&mut self) -> Vec<u8> {
        match self.below(12) {
            0 => self.word(&["", "x", "1.5", " 3", "9223372036854775808", "1e2", "-"]),
            1 => self.word(&["9223372036854775807", "-9223372036854775808", "0", "-0"]),
            2 => self.below(1_000_000).to_string().into_bytes(),
            _ => (self.below(25) as i64 - 12).to_string().into_bytes(),
        }
    }

    /// A word in one case or another.
    pub(crate) fn cased(&mut self, word: &str) -> Vec<u8> {
        match self.below(3) {
            0 => word.to_uppercase().into_bytes(),
            1 => word.to_lowercase().into_bytes(),
            _ => {
                let flip = |byte: u8| match self.once_in(2) {
                    true => byte.to_ascii_uppercase(),
                    false => byte.to_ascii_lowercase(),
                };
                word.bytes().map(flip).collect()
            }
        }
    }
}
