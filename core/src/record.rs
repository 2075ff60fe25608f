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
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
