//! The bytes of requests: the same each time, or each with a key drawn at random.

/// Bytes of a key.
pub const KEY_BYTES: usize = 16;
/// What all keys begin with; their number follows.
const KEY_PREFIX: &[u8; 4] = b"key:";
/// Bytes of a key in base64, with its padding.
const KEY_BASE64_BYTES: usize = KEY_BYTES.div_ceil(3) * 4;
/// What keys are drawn from, in every run alike.
const SEED: u64 = 0x7374_616e_6469_6e21;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The key of this number: `key:` and twelve digits, the number's last ones.
#[must_use]
pub fn key(mut number: u64) -> [u8; KEY_BYTES] {
    let mut key = [b'0'; KEY_BYTES];
    let (prefix, digits) = key.split_at_mut(KEY_PREFIX.len());
    prefix.copy_from_slice(KEY_PREFIX);
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(number % 10).expect("it is one digit");
        number /= 10;
    }
    key
}

/// Bytes in base64, with padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let six = usize::try_from(word >> (18 - 6 * place) & 63).expect("it is six bits");
            out.push(if place <= three.len() {
                BASE64[six]
            } else {
                b'='
            });
        }
    }
    out
}

/// How a key stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// As it is.
    Plain,
    /// In base64.
    Base64,
}

impl KeyForm {
    fn bytes(self) -> usize {
        match self {
            Self::Plain => KEY_BYTES,
            Self::Base64 => KEY_BASE64_BYTES,
        }
    }

    fn write(self, number: u64, out: &mut [u8]) {
        let key = key(number);
        match self {
            Self::Plain => out.copy_from_slice(&key),
            Self::Base64 => out.copy_from_slice(&base64(&key)),
        }
    }
}

/// A request's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    bytes: Vec<u8>,
    keys: Option<Keys>,
}

/// The keys of which each request has one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Keys {
    /// They have the numbers below this.
    count: u64,
    form: KeyForm,
    /// Where a key begins in the bytes.
    at: usize,
}

impl Request {
    /// These bytes each time.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, keys: None }
    }

    /// Each time these bytes with another key, drawn from the first `count` of them, in the place of that of number 0. If
    /// there is but one, these bytes each time.
    ///
    /// # Panics
    /// If the key of number 0 is not in the bytes, or `count` is 0.
    #[must_use]
    pub fn with_keys(bytes: Vec<u8>, count: u64, form: KeyForm) -> Self {
        assert!(count > 0);
        if count == 1 {
            return Self::new(bytes);
        }
        let mut first = vec![0; form.bytes()];
        form.write(0, &mut first);
        let at = bytes.windows(first.len()).position(|place| place == first);
        let at = at.expect("the request has the first key");
        let keys = Some(Keys { count, form, at });
        Self { bytes, keys }
    }
}

/// Request after request, each with a key drawn uniformly, if there are several.
#[derive(Clone, Debug)]
pub(super) struct Source<'a> {
    keys: Option<&'a Keys>,
    /// The last request.
    bytes: Vec<u8>,
    state: u64,
}

impl<'a> Source<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        Self {
            keys: request.keys.as_ref(),
            bytes: request.bytes.clone(),
            state: SEED,
        }
    }

    /// The next request.
    pub(super) fn draw(&mut self) -> &[u8] {
        if let Some(keys) = self.keys {
            let product = u128::from(self.random()) * u128::from(keys.count);
            let number = u64::try_from(product >> 64).expect("it is less than the count");
            self.put(number);
        }
        &self.bytes
    }

    /// The request with the key of this number, if it has one to be drawn.
    pub(super) fn numbered(&mut self, number: u64) -> &[u8] {
        self.put(number);
        &self.bytes
    }

    fn put(&mut self, number: u64) {
        if let Some(Keys { form, at, .. }) = self.keys {
            let place = &mut self.bytes[*at..*at + form.bytes()];
            form.write(number, place);
        }
    }

    /// Splitmix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_twelve_digits_and_base64_its_padding() {
        assert_eq!(&key(0), b"key:000000000000");
        assert_eq!(&key(987_654_321_012), b"key:987654321012");
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(bytes.as_bytes()), text.as_bytes());
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), b"+/+/");
        assert_eq!(base64(&key(0)), b"a2V5OjAwMDAwMDAwMDAwMA==");
    }

    #[test]
    fn a_request_of_one_key_is_the_same_each_time() {
        let bytes = b"GET key:000000000000".to_vec();
        let request = Request::with_keys(bytes.clone(), 1, KeyForm::Plain);
        assert_eq!(request, bytes.clone().into());
        let mut source = Source::new(&request);
        assert_eq!(source.draw(), bytes);
        assert_eq!(source.draw(), bytes);
        assert_eq!(source.numbered(7), bytes);
    }

    #[test]
    fn keys_are_drawn_from_all_of_them_alike_and_in_the_same_order_each_time() {
        let bytes = b"<key:000000000000>".to_vec();
        let request = Request::with_keys(bytes, 10, KeyForm::Plain);
        let (mut source, mut again) = (Source::new(&request), Source::new(&request));
        let mut counts = [0; 10];
        for _ in 0..10_000 {
            let drawn = source.draw();
            assert_eq!(drawn, again.draw());
            let number = drawn.strip_prefix(b"<key:00000000000").unwrap();
            let digit = number.strip_suffix(b">").unwrap();
            counts[usize::from(digit[0] - b'0')] += 1;
        }
        assert!(
            counts.iter().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_key_is_put_where_it_stands_in_its_form() {
        let mut bytes = b"{\"key\":\"".to_vec();
        bytes.extend(base64(&key(0)));
        bytes.extend_from_slice(b"\"}");
        let request = Request::with_keys(bytes, 1 << 40, KeyForm::Base64);
        let mut source = Source::new(&request);
        let expected = [b"{\"key\":\"".as_slice(), &base64(&key(71)), b"\"}"].concat();
        assert_eq!(source.numbered(71), expected);
    }
}
