//! Snapshots as bytes: a small self-describing record, so that a damaged or foreign one is refused.
//!
//! Layout: `TGR1`, the machine's name and its record version, the fields as LEB128 integers, and a 64-bit
//! FNV-1a checksum of all that, little-endian. No field names: each machine's `write` and `read` stand side
//! by side in its file, and a changed shape is a new version.

use alloc::vec::Vec;
use core::fmt;

use crate::{MAX_TIME, Millis, NEVER};

const MAGIC: &[u8] = b"TGR1";
/// A record that lay around longer than this counts as this old (every duration has passed by then).
pub(crate) const MAX_ELAPSED: Millis = MAX_TIME;
/// The longest list that a record may hold; the widest real one has a few hundred.
const MAX_LENGTH: u64 = 100_000;

/// Why a record was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordFault {
    /// Cut short, damaged, or with values that no machine could have written.
    Corrupt,
    /// The record of another kind of machine.
    OtherMachine,
    /// Written by a version that this one does not know.
    UnknownVersion(u64),
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt => write!(f, "the snapshot is damaged or incomplete; start the machine anew"),
            Self::OtherMachine => write!(f, "the snapshot is of another kind of machine"),
            Self::UnknownVersion(version) => {
                write!(f, "the snapshot has version {version}, which this release does not know")
            }
        }
    }
}

impl core::error::Error for RecordFault {}

/// A value that knows how to stand in a record.
pub trait Record: Sized {
    /// Appends it.
    fn write(&self, to: &mut Writer);
    /// Takes it.
    ///
    /// # Errors
    /// [`RecordFault::Corrupt`] for bytes that are no such value.
    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault>;
}

/// Writes a record.
#[derive(Debug, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(machine: &str, version: u16) -> Self {
        let mut writer = Self { bytes: MAGIC.to_vec() };
        writer.text(machine);
        writer.number(u64::from(version));
        writer
    }

    /// A part of something that has a frame of its own.
    pub(crate) fn bare() -> Self {
        Self { bytes: Vec::new() }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends an integer.
    pub fn number(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & 0x7f).unwrap_or(0);
            value >>= 7;
            if value == 0 {
                self.bytes.push(low);
                return;
            }
            self.bytes.push(low | 0x80);
        }
    }

    /// Appends an integer that may be missing.
    pub fn optional(&mut self, value: Option<u64>) {
        self.flag(value.is_some());
        if let Some(value) = value {
            self.number(value);
        }
    }

    /// Appends a boolean.
    pub fn flag(&mut self, value: bool) {
        self.number(u64::from(value));
    }

    /// Appends the length of the list that follows.
    pub fn length(&mut self, value: usize) {
        self.number(u64::try_from(value).unwrap_or(u64::MAX));
    }

    /// Appends a text.
    pub fn text(&mut self, value: &str) {
        self.length(value.len());
        self.bytes.extend_from_slice(value.as_bytes());
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let sum = checksum(&self.bytes);
        self.bytes.extend_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}

/// Reads a record.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn open(bytes: &'a [u8], machine: &str, version: u16) -> Result<Self, RecordFault> {
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(RecordFault::Corrupt)?;
        if u64::from_le_bytes(*sum) != checksum(body) {
            return Err(RecordFault::Corrupt);
        }
        let mut reader = Self { rest: body.strip_prefix(MAGIC).ok_or(RecordFault::Corrupt)? };
        if reader.text()? != machine {
            return Err(RecordFault::OtherMachine);
        }
        match reader.number()? {
            found if found == u64::from(version) => Ok(reader),
            found => Err(RecordFault::UnknownVersion(found)),
        }
    }

    /// A part of something that has a frame of its own.
    pub(crate) fn bare(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whatever follows.
    pub(crate) fn into_rest(self) -> &'a [u8] {
        self.rest
    }

    /// Takes an integer.
    ///
    /// # Errors
    /// [`RecordFault::Corrupt`] when none follows.
    pub fn number(&mut self) -> Result<u64, RecordFault> {
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(RecordFault::Corrupt)?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(RecordFault::Corrupt);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordFault::Corrupt)
    }

    /// Takes an integer of 32 bits.
    ///
    /// # Errors
    /// [`RecordFault::Corrupt`] when none follows or it is wider.
    pub fn small(&mut self) -> Result<u32, RecordFault> {
        u32::try_from(self.number()?).map_err(|_| RecordFault::Corrupt)
    }

    /// Takes a time or a duration: at most [`NEVER`].
    ///
    /// # Errors
    /// [`RecordFault::Corrupt`] when none follows or it is later.
    pub fn time(&mut self) -> Result<Millis, RecordFault> {
        self.number().and_then(|time| if time <= NEVER { Ok(time) } else { Err(RecordFault::Corrupt) })
    }

    /// Takes a timer that may be unset.
    ///
    /// # Errors
    /// As [`Reader::time`].
    pub fn timer(&mut self) -> Result<Option<Millis>, RecordFault> {
        if self.flag()? { Ok(Some(self.time()?)) } else { Ok(None) }
    }

    /// Takes an integer that may be missing.
    ///
    /// # Errors
    /// [`RecordFault::Corrupt`] when none follows.
    pub fn optional(&mut self) -> Result<Option<u64>, RecordFault> {
        if self.flag()? { Ok(Some(self.number()?)) } else { Ok(None) }
    }

    /// Takes a boolean.
    ///
    /// # Errors
    /// [`RecordFault::Corrupt`] when none follows.
    pub fn flag(&mut self) -> Result<bool, RecordFault> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordFault::Corrupt),
        }
    }

    /// Takes the length of a list.
    ///
    /// # Errors
    /// [`RecordFault::Corrupt`] when none follows or it is beyond reason.
    pub fn length(&mut self) -> Result<u64, RecordFault> {
        self.number()
            .and_then(|length| if length <= MAX_LENGTH { Ok(length) } else { Err(RecordFault::Corrupt) })
    }

    /// Takes a text.
    ///
    /// # Errors
    /// [`RecordFault::Corrupt`] when none follows or it is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, RecordFault> {
        let length = usize::try_from(self.length()?).map_err(|_| RecordFault::Corrupt)?;
        let (text, rest) = self.rest.split_at_checked(length).ok_or(RecordFault::Corrupt)?;
        self.rest = rest;
        core::str::from_utf8(text).map_err(|_| RecordFault::Corrupt)
    }

    pub(crate) fn finish(self) -> Result<(), RecordFault> {
        if self.rest.is_empty() { Ok(()) } else { Err(RecordFault::Corrupt) }
    }
}

/// FNV-1a, 64 bits.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sealed record of a machine `test`, version 3.
    fn sealed(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new("test", 3);
        write(&mut writer);
        writer.finish()
    }

    /// What `read` finds in a record of these bytes, and nothing may be left after it.
    fn found<T>(
        bytes: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, RecordFault>,
    ) -> Result<T, RecordFault> {
        let record = sealed(|writer| writer.bytes.extend_from_slice(bytes));
        let mut reader = Reader::open(&record, "test", 3)?;
        let value = read(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }

    #[test]
    fn every_number_comes_back() {
        let powers = (0..64).map(|bit| 1_u64 << bit);
        let numbers: Vec<u64> =
            powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]).collect();
        let record = sealed(|writer| numbers.iter().for_each(|number| writer.number(*number)));
        let mut reader = Reader::open(&record, "test", 3).unwrap();
        for number in numbers {
            assert_eq!(reader.number(), Ok(number));
        }
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn everything_else_comes_back() {
        let record = sealed(|writer| {
            writer.text("καλημέρα");
            writer.flag(true);
            writer.optional(None);
            writer.optional(Some(u64::MAX));
            writer.optional(Some(NEVER));
            writer.length(100_000);
        });
        let mut reader = Reader::open(&record, "test", 3).unwrap();
        assert_eq!(reader.text(), Ok("καλημέρα"));
        assert_eq!(reader.flag(), Ok(true));
        assert_eq!(reader.timer(), Ok(None));
        assert_eq!(reader.optional(), Ok(Some(u64::MAX)));
        assert_eq!(reader.timer(), Ok(Some(NEVER)));
        assert_eq!(reader.length(), Ok(100_000));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn values_that_no_machine_writes_are_corrupt() {
        let corrupt = Some(RecordFault::Corrupt);
        assert_eq!(found(&[], |reader| reader.number()).err(), corrupt, "nothing");
        assert_eq!(found(&[0x80], |reader| reader.number()).err(), corrupt, "an unfinished number");
        assert_eq!(found(&[0xff; 9], |reader| reader.number()).err(), corrupt);
        let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(found(&beyond, |reader| reader.number()).err(), corrupt, "a number beyond 64 bits");
        let endless = [0x80; 11];
        assert_eq!(found(&endless, |reader| reader.number()).err(), corrupt);
        assert_eq!(found(&[2], |reader| reader.flag()).err(), corrupt, "a boolean of 2");
        assert_eq!(found(&[2, 0], |reader| reader.timer()).err(), corrupt);
        assert_eq!(
            found(&[3, b'a', b'b'], |reader| reader.text().map(str::len)).err(),
            corrupt,
            "a cut text"
        );
        assert_eq!(found(&[1, 0xff], |reader| reader.text().map(str::len)).err(), corrupt, "no UTF-8");
        assert_eq!(found(&[0, 0], |reader| reader.number()).err(), corrupt, "something left over");
        let number = |number| {
            let mut writer = Writer { bytes: Vec::new() };
            writer.number(number);
            writer.bytes
        };
        assert_eq!(found(&number(1 << 32), |reader| reader.small()).err(), corrupt);
        assert_eq!(found(&number(u64::from(u32::MAX)), |reader| reader.small()), Ok(u32::MAX));
        assert_eq!(found(&number(NEVER + 1), |reader| reader.time()).err(), corrupt);
        assert_eq!(found(&number(100_001), |reader| reader.length()).err(), corrupt);
    }

    #[test]
    fn the_record_of_another_machine_or_version_is_named_as_such() {
        let record = sealed(|_| {});
        assert!(Reader::open(&record, "test", 3).is_ok());
        assert_eq!(Reader::open(&record, "tes", 3).err(), Some(RecordFault::OtherMachine));
        assert_eq!(Reader::open(&record, "test", 2).err(), Some(RecordFault::UnknownVersion(3)));
        let message = RecordFault::UnknownVersion(3).to_string();
        assert_eq!(message, "the snapshot has version 3, which this release does not know");
        assert_eq!(RecordFault::OtherMachine.to_string(), "the snapshot is of another kind of machine");
        let damaged = "the snapshot is damaged or incomplete; start the machine anew";
        assert_eq!(RecordFault::Corrupt.to_string(), damaged);
    }

    #[test]
    fn bytes_that_are_no_record_are_corrupt() {
        let resealed = |body: &[u8]| [body, &checksum(body).to_le_bytes()].concat();
        let none: &[u8] = &[];
        for bytes in [none, b"TGR1", &[0; 7], &[0; 8], &resealed(b""), &resealed(b"TGR"), &resealed(b"TGR2")]
        {
            assert_eq!(Reader::open(bytes, "test", 3).err(), Some(RecordFault::Corrupt), "{bytes:?}");
        }
    }

    #[test]
    fn the_layout_is_pinned_so_that_another_release_can_read_it() {
        let record = sealed(|writer| {
            writer.number(300);
            writer.text("é");
        });
        let body = [b"TGR1".as_slice(), &[4], b"test", &[3, 0xac, 0x02, 2, 0xc3, 0xa9]].concat();
        assert_eq!(record[..record.len() - 8], body);
        // FNV-1a of nothing and of "a", as published.
        assert_eq!([checksum(b""), checksum(b"a")], [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c]);
    }
}
