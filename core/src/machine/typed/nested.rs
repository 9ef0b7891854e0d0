//! Values of bytes that anybody may send, nested no deeper than the stack bears.
//!
//! A type that contains itself (`Box<Self>`) is decoded by functions that call themselves, as deep as the bytes say. So
//! what is inside of what is counted here, between serde and postcard, and the same bytes are refused on every replica.

use std::fmt;

use serde::Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

/// So deep may a command or a query nest: structs, variants, options and sequences inside of each other. It takes some hundred
/// kilobytes of stack at most, and the programs of threads have 2 MiB.
///
/// This is a part of what a log means, and may never change: a command that nests deeper was refused when it was ordered, and
/// whoever applies that entry later has to refuse it, too, and one that nests less deep has to be executed.
pub const NESTING_MAX: u32 = 128;

/// Reads a postcard value that fills `bytes` exactly, and nests no deeper than [`NESTING_MAX`].
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut input = postcard::Deserializer::from_bytes(bytes);
    let value = T::deserialize(Nested {
        inner: &mut input,
        left: NESTING_MAX,
    });
    let value = value.ok()?;
    let rest = input.finalize().ok()?;
    rest.is_empty().then_some(value)
}

/// A part of serde's, and how much deeper it may go.
struct Nested<T> {
    inner: T,
    left: u32,
}

impl<T> Nested<T> {
    /// Another one, at the same depth.
    fn with<U>(&self, inner: U) -> Nested<U> {
        let left = self.left;
        Nested { inner, left }
    }

    /// Another one, inside of this one.
    fn inside<U, E: Error>(&self, inner: U) -> Result<Nested<U>, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Nested { inner, left }),
            None => Err(E::custom("it nests too deep")),
        }
    }
}

/// What is read, by the kinds of things that serde knows.
macro_rules! pass_on_kinds {
    ($($method:ident($($name:ident: $type:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(
            self,
            $($name: $type,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            let visitor = self.with(visitor);
            self.inner.$method($($name,)* visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Nested<D> {
    type Error = D::Error;

    pass_on_kinds! {
        deserialize_any() deserialize_bool() deserialize_char()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64()
        deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit() deserialize_seq() deserialize_map()
        deserialize_identifier() deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// What was found, where nothing is inside.
macro_rules! pass_on_values {
    ($($method:ident: $type:ty)*) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Nested<V> {
    type Value = V::Value;

    pass_on_values! {
        visit_bool: bool visit_char: char
        visit_i8: i8 visit_i16: i16 visit_i32: i32 visit_i64: i64 visit_i128: i128
        visit_u8: u8 visit_u16: u16 visit_u32: u32 visit_u64: u64 visit_u128: u128
        visit_f32: f32 visit_f64: f64
        visit_str: &str visit_borrowed_str: &'de str visit_string: String
        visit_bytes: &[u8] visit_borrowed_bytes: &'de [u8] visit_byte_buf: Vec<u8>
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<V::Value, D::Error> {
        let input = self.inside(input)?;
        self.inner.visit_some(input)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<V::Value, D::Error> {
        let input = self.inside(input)?;
        self.inner.visit_newtype_struct(input)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<V::Value, A::Error> {
        let parts = self.inside(parts)?;
        self.inner.visit_seq(parts)
    }

    fn visit_map<A: MapAccess<'de>>(self, parts: A) -> Result<V::Value, A::Error> {
        let parts = self.inside(parts)?;
        self.inner.visit_map(parts)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let variant = self.inside(variant)?;
        self.inner.visit_enum(variant)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Nested<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<S::Value, D::Error> {
        let input = self.with(input);
        self.inner.deserialize(input)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Nested<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.with(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Nested<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.with(seed);
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Nested<A> {
    type Error = A::Error;
    type Variant = Nested<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let left = self.left;
        let seed = self.with(seed);
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Nested { inner, left }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Nested<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.tuple_variant(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::message::{decode_payload, encode_payload};

    /// A way of containing oneself for each that there is.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf,
        One(Box<Tree>),
        Two(Box<Tree>, u8),
        Field { is: Box<Tree> },
        May(Option<Box<Tree>>),
        Many(Vec<Tree>),
        Named(BTreeMap<u8, Tree>),
        Wrapped(Box<Wrapper>),
        Pair((Box<Tree>, bool)),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapper(Tree);

    /// The variants of [`Tree`] with one inside, as bytes before and behind it; and how many levels each is.
    const WAYS: [(&[u8], &[u8], u32); 8] = [
        (&[1], &[], 1),
        (&[2], &[0], 2),
        (&[3], &[], 2),
        (&[4, 1], &[], 2),
        (&[5, 1], &[], 2),
        (&[6, 1, 9], &[], 2),
        (&[7], &[], 2),
        (&[8], &[1], 2),
    ];

    /// Bytes of a tree in which this is inside itself so often.
    fn tree((before, behind, _): (&[u8], &[u8], u32), times: usize) -> Vec<u8> {
        [before.repeat(times), vec![0], behind.repeat(times)].concat()
    }

    #[test]
    fn what_nests_as_deep_as_may_be_is_read_and_what_nests_deeper_is_not() {
        for way in WAYS {
            // The leaf is one level itself.
            let most = usize::try_from((128 - 1) / way.2).unwrap();
            let bytes = tree(way, most);
            let read = decode::<Tree>(&bytes);
            assert!(read.is_some(), "{way:?}");
            assert_eq!(read, decode_payload(&bytes));
            assert_eq!(decode::<Tree>(&tree(way, most + 1)), None, "{way:?}");
        }
    }

    #[test]
    fn bytes_that_would_overflow_the_stack_are_refused() {
        for way in WAYS {
            assert_eq!(decode::<Tree>(&tree(way, 300_000)), None, "{way:?}");
        }
    }

    /// One of each thing that serde knows and postcard can say.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct All {
        numbers: (i8, i16, i32, i64, i128, u8, u16, u32, u64, u128),
        floats: (f32, f64),
        rest: (bool, char, (), Unit),
        text: String,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        many: Vec<Option<u16>>,
        named: BTreeMap<String, [u8; 3]>,
        way: Result<u8, (u8, u8)>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;

    #[test]
    fn all_that_does_not_nest_is_read_as_ever() {
        let all = All {
            numbers: (-1, -2, -3, -4, -5, 1, 2, 3, 4, 5),
            floats: (1.5, -2.5),
            rest: (true, 'ü', (), Unit),
            text: "text".to_owned(),
            bytes: vec![7; 300],
            many: vec![None, Some(3)],
            named: BTreeMap::from([("a".to_owned(), [1, 2, 3])]),
            way: Err((8, 9)),
        };
        let mut bytes = Vec::new();
        encode_payload(&all, &mut bytes);
        assert_eq!(decode::<All>(&bytes), Some(all));
        bytes.push(0);
        assert_eq!(decode::<All>(&bytes), None, "more follows");
    }

    proptest! {
        #[test]
        fn of_any_short_bytes_the_same_is_read_as_without(
            bytes in prop::collection::vec(0..10_u8, 0..60),
        ) {
            // So few cannot nest too deep.
            prop_assert_eq!(decode::<Tree>(&bytes), decode_payload(&bytes));
            prop_assert_eq!(decode::<All>(&bytes), decode_payload(&bytes));
        }
    }
}
