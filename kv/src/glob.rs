//! Patterns as Redis matches them (`stringmatchlen`): `*`, `?`, `[a-c^]`, `\` before what is meant as it is.

/// Whether `text` matches `pattern`, byte by byte, upper and lower case apart.
///
/// Nothing but the empty pattern matches the empty text, not even `*`: so it is in Redis. Takes time in
/// proportion to both lengths multiplied, however many stars there are.
#[must_use]
pub fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last star fits nowhere here: the star may take one byte more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        let step = match (p < pattern.len(), text.get(t)) {
            (false, None) => return true,
            (true, None) => return false,
            (false, Some(_)) => None,
            (true, Some(byte)) => one(&pattern[p..], *byte),
        };
        match (step, &mut retry) {
            (Some(used), _) => {
                p += used;
                t += 1;
            }
            (None, Some((after_star, from))) => {
                *from += 1;
                (p, t) = (*after_star, *from);
            }
            (None, None) => return false,
        }
    }
}

/// How many bytes of the pattern stand for `byte`, if it begins with what matches it.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', ..] => class(pattern, byte),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// A class in brackets. One that is not closed ends with the pattern.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let mut at = 1;
    let is_negated = pattern.get(at) == Some(&b'^');
    at += usize::from(is_negated);
    let mut is_in = false;
    loop {
        match &pattern[at.min(pattern.len())..] {
            [] => break,
            [b'\\', escaped, ..] => {
                is_in |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [low, b'-', high, ..] => {
                let (low, high) = (low.min(high), low.max(high));
                is_in |= (low..=high).contains(&&byte);
                at += 3;
            }
            [literal, ..] => {
                is_in |= *literal == byte;
                at += 1;
            }
        }
    }
    (is_in != is_negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::is_match;

    #[test]
    fn patterns_match_as_in_redis() {
        let cases: [(&str, &str, bool); 30] = [
            ("", "", true),
            ("", "a", false),
            ("*", "", false),
            ("**", "ab", true),
            ("?", "", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*abc", "ababc", true),
            ("h?llo", "hello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("h[a-b]llo", "hcllo", false),
            (r"h\*llo", "h*llo", true),
            (r"h\*llo", "hello", false),
            (r"[\]]", "]", true),
            (r"[\-a]", "-", true),
            ("[]a]", "a", false),
            ("[abc", "c", true),
            ("[abc", "d", false),
            ("[a-", "-", true),
            ("a\\", "a\\", true),
            ("[^]", "x", true),
            ("*[^a]*", "aaa", false),
            ("*?*?*", "ab", true),
            ("*?*?*?", "ab", false),
            ("a", "A", false),
        ];
        for (pattern, text, expected) in cases {
            let found = is_match(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_time_to_speak_of() {
        let pattern = "a*".repeat(500) + "b";
        assert!(!is_match(pattern.as_bytes(), "a".repeat(5000).as_bytes()));
    }
}
