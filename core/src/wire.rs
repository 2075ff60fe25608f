//! How inputs, effects and configs are described, so that every language can carry them.
//!
//! Three macros declare the public data of a machine once: [`names!`] for closed sets of words, [`messages!`]
//! for inputs and effects, [`settings!`] for configs. From one declaration come the Rust type, its *flat* form
//! (a tag and a few integers: the fast path over a language boundary), its description (from which the object
//! form and the TypeScript and Python types are made, see `boundary/`), and its place in snapshots.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::hash::Hash;

use crate::{MAX_TIME, Reader, Record, RecordFault, Writer};

/// The most fields that a message may have.
pub const MAX_FIELDS: usize = 8;

/// A missing optional field in the flat form.
pub const NONE: u64 = u64::MAX;

/// The integers of one message in its flat form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    words: [u64; MAX_FIELDS],
    length: usize,
}

impl Words {
    /// No words.
    #[must_use]
    pub fn new() -> Self {
        Self { words: [0; MAX_FIELDS], length: 0 }
    }

    /// Appends one; more than [`MAX_FIELDS`] are dropped (no declared message has so many).
    pub fn push(&mut self, word: u64) {
        if let Some(slot) = self.words.get_mut(self.length) {
            *slot = word;
            self.length = self.length.saturating_add(1);
        }
    }

    /// The words in the order of the fields.
    #[must_use]
    pub fn as_slice(&self) -> &[u64] {
        self.words.get(..self.length).unwrap_or(&[])
    }
}

impl Default for Words {
    fn default() -> Self {
        Self::new()
    }
}

/// A closed set of words, described.
#[derive(Debug)]
pub struct NameSpec {
    /// The set's name, `UpperCamelCase`.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static [&'static str],
    /// Each word with its meaning, in the order of the flat form's numbers.
    pub values: &'static [(&'static str, &'static [&'static str])],
}

/// What a field of a message or a config holds, described.
#[derive(Debug)]
pub enum FieldKind {
    /// `true` or `false`.
    Bool,
    /// An integer from zero to this.
    Integer(u64),
    /// A text. Only in configs.
    Text,
    /// One of a closed set of words.
    Name(&'static NameSpec),
    /// Something that may be missing.
    Optional(&'static FieldKind),
    /// Any number of something. Only in configs.
    List(&'static FieldKind),
    /// A nested group. Only in configs.
    Group(&'static SettingsSpec),
}

/// One field of a message, described.
#[derive(Debug)]
pub struct FieldSpec {
    /// Its name, `snake_case`.
    pub name: &'static str,
    /// What it means, with its unit.
    pub doc: &'static [&'static str],
    /// What it holds.
    pub kind: FieldKind,
}

/// One message, described.
#[derive(Debug)]
pub struct Variant {
    /// The value of `type` in the object form, kebab-case.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static [&'static str],
    /// Its fields, in the order of the flat form.
    pub fields: &'static [FieldSpec],
}

/// One field of a config, described.
#[derive(Debug)]
pub struct SettingSpec {
    /// Its name, `snake_case`.
    pub name: &'static str,
    /// What it means, with its unit and the reason of its default.
    pub doc: &'static [&'static str],
    /// What it holds.
    pub kind: FieldKind,
    /// The default as it stands in the source.
    pub default: &'static str,
}

/// A config, described.
#[derive(Debug)]
pub struct SettingsSpec {
    /// Its name at the language boundaries, `UpperCamelCase`.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static [&'static str],
    /// Its fields in order.
    pub fields: &'static [SettingSpec],
}

/// A closed set of words, such as the reasons of a deadline. Declared with `names!`.
pub trait Name: Copy + Eq + Ord + Hash + Debug + 'static {
    /// Its description.
    const SPEC: NameSpec;
    /// Every one, in order.
    const ALL: &'static [Self];
    /// The number in the flat form.
    fn index(self) -> u16;
    /// The word.
    fn as_str(self) -> &'static str;
}

/// Something that is one integer in the flat form of a message.
pub trait Field: Copy {
    /// Its description.
    const KIND: FieldKind;
    /// To the flat form.
    fn put(self) -> u64;
    /// From the flat form; none when it is out of range.
    fn take(word: u64) -> Option<Self>;
}

/// An input or an effect of a machine. Declared with `messages!`.
pub trait Message: Clone + Eq + Hash + Debug {
    /// The name at the language boundaries, `UpperCamelCase`.
    const NAME: &'static str;
    /// What it is.
    const DOC: &'static [&'static str];
    /// Every message, in the order of the tags.
    const VARIANTS: &'static [Variant];
    /// The number of the message in the flat form: its place in [`Message::VARIANTS`].
    fn tag(&self) -> u16;
    /// The fields in the flat form.
    fn words(&self) -> Words;
    /// From the flat form; none for an unknown tag, a missing or an out-of-range field.
    fn from_words(tag: u16, words: &[u64]) -> Option<Self>;
    /// The value of `type` in the object form.
    fn type_name(&self) -> &'static str {
        Self::VARIANTS.get(usize::from(self.tag())).map_or("", |variant| variant.name)
    }
}

/// A config. Declared with `settings!`.
pub trait Settings: Clone + Eq + Hash + Debug + Default + Record {
    /// Its description.
    const SPEC: SettingsSpec;
}

/// Something that a config's field can hold.
pub trait Setting {
    /// Its description.
    const SETTING: FieldKind;
}

impl Setting for String {
    const SETTING: FieldKind = FieldKind::Text;
}

impl<T: Setting> Setting for Vec<T> {
    const SETTING: FieldKind = FieldKind::List(&T::SETTING);
}

impl<T: Setting> Setting for Option<T> {
    const SETTING: FieldKind = FieldKind::Optional(&T::SETTING);
}

macro_rules! integer_fields {
    ($($type:ty: $most:expr),*) => {$(
        impl Field for $type {
            const KIND: FieldKind = FieldKind::Integer($most);
            fn put(self) -> u64 {
                u64::from(self)
            }
            fn take(word: u64) -> Option<Self> {
                if word > $most { None } else { Self::try_from(word).ok() }
            }
        }
        impl Setting for $type {
            const SETTING: FieldKind = <$type as Field>::KIND;
        }
        impl Record for $type {
            fn write(&self, to: &mut Writer) {
                to.number(u64::from(*self));
            }
            fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
                Self::try_from(from.number()?).map_err(|_| RecordFault::Corrupt)
            }
        }
    )*};
}
integer_fields!(u8: 0xff, u16: 0xffff, u32: 0xffff_ffff, u64: MAX_TIME);

impl Field for bool {
    const KIND: FieldKind = FieldKind::Bool;
    fn put(self) -> u64 {
        u64::from(self)
    }
    fn take(word: u64) -> Option<Self> {
        match word {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Setting for bool {
    const SETTING: FieldKind = FieldKind::Bool;
}

impl<T: Field> Field for Option<T> {
    const KIND: FieldKind = FieldKind::Optional(&T::KIND);
    fn put(self) -> u64 {
        self.map_or(NONE, Field::put)
    }
    fn take(word: u64) -> Option<Self> {
        if word == NONE { Some(None) } else { T::take(word).map(Some) }
    }
}

impl Record for bool {
    fn write(&self, to: &mut Writer) {
        to.flag(*self);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        from.flag()
    }
}

impl Record for String {
    fn write(&self, to: &mut Writer) {
        to.text(self);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        from.text().map(Into::into)
    }
}

impl<T: Record> Record for Option<T> {
    fn write(&self, to: &mut Writer) {
        to.flag(self.is_some());
        if let Some(value) = self {
            value.write(to);
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        if from.flag()? { T::read(from).map(Some) } else { Ok(None) }
    }
}

impl<T: Record> Record for Vec<T> {
    fn write(&self, to: &mut Writer) {
        to.length(self.len());
        for value in self {
            value.write(to);
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        (0..from.length()?).map(|_| T::read(from)).collect()
    }
}

impl<T: Record> Record for Arc<T> {
    fn write(&self, to: &mut Writer) {
        T::write(self, to);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        T::read(from).map(Self::new)
    }
}

/// Declares a closed set of words.
macro_rules! names {
    (
        $(#[doc = $doc:literal])*
        pub enum $Name:ident { $($(#[doc = $value_doc:literal])* $Value:ident = $word:literal),* $(,)? }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub enum $Name {
            $($(#[doc = $value_doc])* #[cfg_attr(feature = "serde", serde(rename = $word))] $Value),*
        }

        impl $crate::Name for $Name {
            const SPEC: $crate::NameSpec = $crate::NameSpec {
                name: stringify!($Name),
                doc: &[$($doc),*],
                values: &[$(($word, &[$($value_doc),*])),*],
            };
            const ALL: &'static [Self] = &[$(Self::$Value),*];
            #[allow(clippy::as_conversions, reason = "the discriminant of a fieldless enum of a few values")]
            fn index(self) -> u16 {
                self as u16
            }
            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Value => $word),*
                }
            }
        }

        impl $crate::Field for $Name {
            const KIND: $crate::FieldKind = $crate::FieldKind::Name(&<Self as $crate::Name>::SPEC);
            fn put(self) -> u64 {
                u64::from($crate::Name::index(self))
            }
            fn take(word: u64) -> Option<Self> {
                usize::try_from(word).ok().and_then(|at| <Self as $crate::Name>::ALL.get(at)).copied()
            }
        }

        impl $crate::wire::Setting for $Name {
            const SETTING: $crate::FieldKind = <Self as $crate::Field>::KIND;
        }

        impl $crate::Record for $Name {
            fn write(&self, to: &mut $crate::Writer) {
                to.number($crate::Field::put(*self));
            }
            fn read(from: &mut $crate::Reader<'_>) -> Result<Self, $crate::RecordFault> {
                $crate::Field::take(from.number()?).ok_or($crate::RecordFault::Corrupt)
            }
        }
    };
}

/// Declares the inputs or the effects of a machine. Every field is one integer in the flat form.
macro_rules! messages {
    (
        $(#[doc = $doc:literal])*
        pub enum $Name:ident as $public:literal {
            $(
                $(#[doc = $variant_doc:literal])*
                $Variant:ident = $type_name:literal
                $({ $($(#[doc = $field_doc:literal])* $field:ident: $Field:ty),* $(,)? })?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum $Name {
            $($(#[doc = $variant_doc])* $Variant $({ $($(#[doc = $field_doc])* $field: $Field),* })?),*
        }

        #[allow(clippy::as_conversions, reason = "the discriminant of a fieldless enum of a few values")]
        const _: () = {
            #[derive(Clone, Copy)]
            enum Tag { $($Variant),* }

            impl $crate::Message for $Name {
                const NAME: &'static str = $public;
                const DOC: &'static [&'static str] = &[$($doc),*];
                const VARIANTS: &'static [$crate::Variant] = &[$($crate::Variant {
                    name: $type_name,
                    doc: &[$($variant_doc),*],
                    fields: &[$($($crate::FieldSpec {
                        name: stringify!($field),
                        doc: &[$($field_doc),*],
                        kind: <$Field as $crate::Field>::KIND,
                    }),*)?],
                }),*];
                fn tag(&self) -> u16 {
                    match self {
                        $(Self::$Variant { .. } => Tag::$Variant as u16),*
                    }
                }
                fn words(&self) -> $crate::Words {
                    #[allow(unused_mut, reason = "a message without fields pushes nothing")]
                    let mut words = $crate::Words::new();
                    match self {
                        $(Self::$Variant $({ $($field),* })? => { $($(words.push($crate::Field::put(*$field));)*)? }),*
                    }
                    words
                }
                fn from_words(tag: u16, words: &[u64]) -> Option<Self> {
                    #[allow(unused_variables, unused_mut, reason = "a message without fields takes nothing")]
                    let mut words = words.iter().copied();
                    $(if tag == Tag::$Variant as u16 {
                        return Some(Self::$Variant $({ $($field: $crate::Field::take(words.next()?)?),* })?);
                    })*
                    None
                }
            }
        };
    };
}

/// Declares a config: its fields with their defaults.
macro_rules! settings {
    (
        $(#[doc = $doc:literal])*
        pub struct $Name:ident as $public:literal {
            $($(#[doc = $field_doc:literal])* $field:ident: $Field:ty = $default:expr),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
        pub struct $Name {
            $($(#[doc = $field_doc])* #[doc = concat!("\n\nDefault: `", stringify!($default), "`.")] pub $field: $Field),*
        }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }

        impl $crate::wire::Settings for $Name {
            const SPEC: $crate::wire::SettingsSpec = $crate::wire::SettingsSpec {
                name: $public,
                doc: &[$($doc),*],
                fields: &[$($crate::wire::SettingSpec {
                    name: stringify!($field),
                    doc: &[$($field_doc),*],
                    kind: <$Field as $crate::wire::Setting>::SETTING,
                    default: stringify!($default),
                }),*],
            };
        }

        impl $crate::wire::Setting for $Name {
            const SETTING: $crate::FieldKind = $crate::FieldKind::Group(&<Self as $crate::wire::Settings>::SPEC);
        }

        impl $crate::Record for $Name {
            fn write(&self, to: &mut $crate::Writer) {
                $($crate::Record::write(&self.$field, to);)*
            }
            fn read(from: &mut $crate::Reader<'_>) -> Result<Self, $crate::RecordFault> {
                Ok(Self { $($field: $crate::Record::read(from)?),* })
            }
        }
    };
}

/// Writes and reads a struct field by field.
#[allow(unused_macros, reason = "used by machines whose state is a struct")]
macro_rules! record_fields {
    ($Type:ty { $($field:ident),* $(,)? }) => {
        impl $crate::Record for $Type {
            fn write(&self, to: &mut $crate::Writer) {
                $($crate::Record::write(&self.$field, to);)*
            }
            fn read(from: &mut $crate::Reader<'_>) -> Result<Self, $crate::RecordFault> {
                Ok(Self { $($field: $crate::Record::read(from)?),* })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FieldKind, Millis};

    names! {
        /// A colour.
        pub enum Colour {
            /// The first.
            Red = "red",
            /// The second.
            DarkBlue = "dark-blue",
        }
    }

    messages! {
        /// A message.
        pub enum Told as "TestTold" {
            /// Without fields.
            Nothing = "nothing",
            /// With every kind of field.
            Everything = "everything" {
                /// A boolean.
                flag: bool,
                /// Small.
                byte: u8,
                /// Larger.
                code: u16,
                /// Larger.
                count: u32,
                /// A time.
                at: Millis,
                /// A word.
                colour: Colour,
                /// Maybe a number.
                maybe: Option<u8>,
                /// Maybe a word.
                shade: Option<Colour>,
            },
        }
    }

    settings! {
        /// A nested group.
        pub struct Inner as "TestInner" {
            /// A number. Its unit.
            number: u8 = 7,
        }
    }

    settings! {
        /// A config.
        pub struct Outer as "TestOuter" {
            /// A text.
            name: String = String::from("x"),
            /// Groups.
            list: Vec<Inner> = Vec::new(),
            /// Maybe a time.
            time: Option<Millis> = None,
            /// A boolean.
            flag: bool = true,
            /// A word.
            colour: Colour = Colour::DarkBlue,
        }
    }

    fn everything() -> Told {
        Told::Everything {
            flag: true,
            byte: 255,
            code: 65_535,
            count: u32::MAX,
            at: MAX_TIME,
            colour: Colour::DarkBlue,
            maybe: None,
            shade: Some(Colour::Red),
        }
    }

    #[test]
    fn a_message_is_a_tag_and_its_fields_in_order() {
        assert_eq!((Told::Nothing.tag(), Told::Nothing.type_name()), (0, "nothing"));
        assert_eq!(Told::Nothing.words().as_slice(), [0; 0]);
        assert_eq!((everything().tag(), everything().type_name()), (1, "everything"));
        let words = everything().words();
        assert_eq!(words.as_slice(), [1, 255, 65_535, 4_294_967_295, MAX_TIME, 1, NONE, 0]);
        assert_eq!(Told::from_words(1, words.as_slice()), Some(everything()));
        assert_eq!(Told::from_words(0, &[]), Some(Told::Nothing));
    }

    #[test]
    fn a_field_that_is_missing_or_out_of_range_makes_no_message() {
        let good = [1, 255, 65_535, 4_294_967_295, MAX_TIME, 1, NONE, 0];
        let out_of_range = [2, 256, 65_536, 4_294_967_296, MAX_TIME + 1, 2, 256, 2];
        for (place, word) in out_of_range.into_iter().enumerate() {
            let mut words = good;
            words[place] = word;
            assert_eq!(Told::from_words(1, &words), None, "field {place}");
            assert_eq!(Told::from_words(1, &good[..place]), None, "without field {place}");
        }
        assert_eq!(Told::from_words(2, &good), None);
    }

    #[test]
    fn more_words_than_a_message_may_have_are_dropped() {
        let mut words = Words::default();
        (0..10).for_each(|word| words.push(word));
        assert_eq!(words.as_slice(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn descriptions_say_what_stands_in_the_source() {
        assert_eq!((Told::NAME, Told::DOC), ("TestTold", [" A message."].as_slice()));
        let fields = Told::VARIANTS[1].fields;
        assert_eq!((fields[1].name, fields[1].doc), ("byte", [" Small."].as_slice()));
        assert!(matches!(fields[4].kind, FieldKind::Integer(MAX_TIME)));
        assert!(matches!(fields[6].kind, FieldKind::Optional(FieldKind::Integer(255))));
        assert!(matches!(fields[5].kind, FieldKind::Name(NameSpec { name: "Colour", .. })));
        let values: Vec<_> = Colour::SPEC.values.iter().map(|(word, _)| *word).collect();
        assert_eq!(values, ["red", "dark-blue"]);
        let spec = Outer::SPEC;
        assert_eq!((spec.name, spec.fields[0].default), ("TestOuter", "String::from(\"x\")"));
        let FieldKind::List(FieldKind::Group(inner)) = &spec.fields[1].kind else { panic!("{spec:?}") };
        assert_eq!((inner.name, inner.fields[0].name, inner.fields[0].default), ("TestInner", "number", "7"));
        assert!(matches!(spec.fields[2].kind, FieldKind::Optional(FieldKind::Integer(MAX_TIME))));
    }

    #[test]
    fn words_of_a_closed_set_have_numbers_in_order() {
        for (number, colour) in Colour::ALL.iter().enumerate() {
            assert_eq!(usize::from(colour.index()), number);
            assert_eq!(Colour::take(colour.put()), Some(*colour));
        }
        assert_eq!(Colour::DarkBlue.as_str(), "dark-blue");
        assert_eq!(Colour::take(u64::MAX), None);
    }

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new("test", 1);
        write(&mut writer);
        writer.finish()
    }

    #[test]
    fn a_config_comes_back_from_a_record_and_a_value_out_of_range_does_not() {
        let config = Outer {
            name: "gateway".into(),
            list: vec![Inner { number: 1 }, Inner { number: 255 }],
            time: Some(u64::MAX),
            flag: false,
            colour: Colour::Red,
        };
        let record = written(|writer| Arc::new(config.clone()).write(writer));
        let mut reader = Reader::open(&record, "test", 1).unwrap();
        assert_eq!(Arc::<Outer>::read(&mut reader), Ok(Arc::new(config)));
        assert_eq!(reader.finish(), Ok(()));

        let record = written(|writer| writer.number(256));
        let mut reader = Reader::open(&record, "test", 1).unwrap();
        assert_eq!(Inner::read(&mut reader), Err(RecordFault::Corrupt));
        let record = written(|writer| writer.number(2));
        let mut reader = Reader::open(&record, "test", 1).unwrap();
        assert_eq!(Colour::read(&mut reader), Err(RecordFault::Corrupt));
    }

    #[test]
    fn a_list_of_a_length_beyond_reason_is_refused_before_it_is_read() {
        let record = written(|writer| writer.number(u64::MAX));
        let mut reader = Reader::open(&record, "test", 1).unwrap();
        assert_eq!(Vec::<u8>::read(&mut reader), Err(RecordFault::Corrupt));
    }
}
