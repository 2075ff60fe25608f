//! The journal of a saga as bytes: one frame a record, for files and for rows of a database alike (G4, G8).
//!
//! A frame is `TGJ1`, the length of its body (u32), the body, and a 64-bit FNV-1a checksum of all that; integers are
//! little-endian. The body is the version of the record (LEB128, as everything in it), the sequence, the kind, the
//! step plus one (0: none), the attempt, the value, and then the payload up to the end: output, error or input,
//! opaque to the core. Frame and body are separate so that a record of a later version is told from a damaged one.
//!
//! A host that keeps a file appends frames and syncs before it answers; after a crash [`read`] says how many bytes
//! are whole, and the host cuts the rest off before it appends. The same holds after an append that failed half way.
//! A host that keeps rows stores a frame a row, keyed by saga and sequence, written by the executor whose token is
//! not below the highest seen, in one transaction with that comparison (G9).

use alloc::vec::Vec;
use core::fmt;

use super::SagaRecord;
use crate::record::checksum;
use crate::{Field, Reader, Writer};

const MAGIC: &[u8; 4] = b"TGJ1";
/// Magic and length.
const HEAD: usize = 8;
/// The checksum.
const TAIL: usize = 8;
/// The version of the record in the body.
const VERSION: u64 = 1;
/// The longest payload that a record can carry. Bytes.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// The longest body: the payload and six integers.
const MAX_BODY: usize = MAX_PAYLOAD + 64;

/// A record without its payload: what [`super::Effect::Append`] says and [`super::Input::Replay`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its place in the journal, from 1.
    pub sequence: u64,
    /// What it says.
    pub kind: SagaRecord,
    /// Of which step, if of one.
    pub step: Option<u32>,
    /// Of which attempt, if of one; else 0.
    pub attempt: u32,
    /// What else it says; see the kind.
    pub value: u64,
}

/// Why bytes are no journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameFault {
    /// Fewer bytes than the frame has: at the end of a journal, a torn record.
    Short,
    /// Damaged, from this byte on.
    Corrupt(usize),
    /// The record at this byte has a version that this release does not know.
    UnknownVersion(usize),
    /// The payload is longer than [`MAX_PAYLOAD`].
    TooLong,
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => write!(f, "the record is cut short"),
            Self::Corrupt(at) => {
                write!(f, "the journal is damaged at byte {at}; the saga is left as it is, for an operator")
            }
            Self::UnknownVersion(at) => {
                write!(f, "the record at byte {at} has a version that this release does not know")
            }
            Self::TooLong => write!(f, "the payload is longer than {MAX_PAYLOAD} bytes"),
        }
    }
}

impl core::error::Error for FrameFault {}

/// One record as a frame.
///
/// # Errors
/// [`FrameFault::TooLong`] for a payload beyond [`MAX_PAYLOAD`].
pub fn encode(entry: &Entry, payload: &[u8]) -> Result<Vec<u8>, FrameFault> {
    if payload.len() > MAX_PAYLOAD {
        return Err(FrameFault::TooLong);
    }
    let mut body = Writer::bare();
    body.number(VERSION);
    body.number(entry.sequence);
    body.number(entry.kind.put());
    body.number(entry.step.map_or(0, |step| u64::from(step).saturating_add(1)));
    body.number(u64::from(entry.attempt));
    body.number(entry.value);
    let mut body = body.into_bytes();
    body.extend_from_slice(payload);
    let length = u32::try_from(body.len()).map_err(|_| FrameFault::TooLong)?;
    let mut frame = Vec::with_capacity(body.len().saturating_add(HEAD).saturating_add(TAIL));
    frame.extend_from_slice(MAGIC);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    let sum = checksum(&frame);
    frame.extend_from_slice(&sum.to_le_bytes());
    Ok(frame)
}

/// A record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frame<'a> {
    /// The record.
    pub entry: Entry,
    /// What the host added to it.
    pub payload: &'a [u8],
    /// How many bytes it took.
    pub length: usize,
}

/// The record at the start of `bytes`; others may follow.
///
/// # Errors
/// [`FrameFault::Short`] when it is cut short, else [`FrameFault::Corrupt`] or [`FrameFault::UnknownVersion`].
pub fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameFault> {
    let Some((head, rest)) = bytes.split_at_checked(HEAD) else {
        let start = bytes.iter().zip(MAGIC).all(|(byte, magic)| byte == magic);
        return Err(if start { FrameFault::Short } else { FrameFault::Corrupt(0) });
    };
    let length = head
        .strip_prefix(MAGIC)
        .and_then(|length| <[u8; 4]>::try_from(length).ok())
        .and_then(|length| usize::try_from(u32::from_le_bytes(length)).ok())
        .filter(|length| *length <= MAX_BODY)
        .ok_or(FrameFault::Corrupt(0))?;
    let (body, rest) = rest.split_at_checked(length).ok_or(FrameFault::Short)?;
    let (sum, _) = rest.split_first_chunk::<TAIL>().ok_or(FrameFault::Short)?;
    let covered = bytes.get(..HEAD.saturating_add(length)).ok_or(FrameFault::Short)?;
    if u64::from_le_bytes(*sum) != checksum(covered) {
        return Err(FrameFault::Corrupt(0));
    }
    let mut body = Reader::bare(body);
    let corrupt = |_| FrameFault::Corrupt(0);
    if body.number().map_err(corrupt)? != VERSION {
        return Err(FrameFault::UnknownVersion(0));
    }
    let sequence = body.number().map_err(corrupt)?;
    let kind = SagaRecord::take(body.number().map_err(corrupt)?);
    let step = body.number().map_err(corrupt)?;
    let attempt = body.small().map_err(corrupt)?;
    let value = body.number().map_err(corrupt)?;
    let step = match step.checked_sub(1) {
        Some(step) => Some(u32::try_from(step).map_err(|_| FrameFault::Corrupt(0))?),
        None => None,
    };
    // Numbers that do not cross to a host are numbers that none wrote.
    let fits = <u64 as Field>::take(sequence).is_some() && <u64 as Field>::take(value).is_some();
    let kind = kind.filter(|_| fits).ok_or(FrameFault::Corrupt(0))?;
    let entry = Entry { sequence, kind, step, attempt, value };
    let length = HEAD.saturating_add(length).saturating_add(TAIL);
    Ok(Frame { entry, payload: body.into_rest(), length })
}

/// A journal that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal<'a> {
    /// Its records in order.
    pub frames: Vec<Frame<'a>>,
    /// How many bytes of it are whole: cut the rest off before anything is appended.
    pub whole: usize,
    /// Whether there was a rest: a record that was never acknowledged.
    pub torn: bool,
}

/// The records of a journal in one piece. A record that is there twice in a row counts once. A damaged end is torn
/// when nothing that could be a record follows it; damage before a record is corruption (G8).
///
/// # Errors
/// [`FrameFault::Corrupt`] or [`FrameFault::UnknownVersion`], with the byte.
pub fn read(bytes: &[u8]) -> Result<Journal<'_>, FrameFault> {
    let mut frames: Vec<Frame<'_>> = Vec::new();
    let mut whole = 0_usize;
    loop {
        let rest = bytes.get(whole..).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok(Journal { frames, whole, torn: false });
        }
        match decode(rest) {
            Ok(frame) => {
                let last = frames.last();
                let expected = last.map_or(1, |last| last.entry.sequence.saturating_add(1));
                if last != Some(&frame) {
                    if frame.entry.sequence != expected {
                        return Err(FrameFault::Corrupt(whole));
                    }
                    frames.push(frame);
                }
                whole = whole.saturating_add(frame.length);
            }
            Err(FrameFault::UnknownVersion(_)) => return Err(FrameFault::UnknownVersion(whole)),
            Err(_) if has_record(rest) => return Err(FrameFault::Corrupt(whole)),
            Err(_) => return Ok(Journal { frames, whole, torn: true }),
        }
    }
}

/// Whether a whole record starts anywhere after the first byte.
fn has_record(bytes: &[u8]) -> bool {
    (1..bytes.len()).any(|at| {
        bytes.get(at..).is_some_and(|rest| {
            rest.starts_with(MAGIC) && matches!(decode(rest), Ok(_) | Err(FrameFault::UnknownVersion(_)))
        })
    })
}
