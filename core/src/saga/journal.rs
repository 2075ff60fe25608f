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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MAX_TIME, Name};

    fn entry(sequence: u64) -> Entry {
        Entry { sequence, kind: SagaRecord::Done, step: Some(2), attempt: 3, value: 300 }
    }

    fn frame(sequence: u64, payload: &[u8]) -> Vec<u8> {
        encode(&entry(sequence), payload).unwrap()
    }

    /// Three records, and where the last one starts.
    fn three() -> (Vec<u8>, usize) {
        let first = [frame(1, b"one"), frame(2, b"")].concat();
        ([first.clone(), frame(3, b"three")].concat(), first.len())
    }

    /// A frame around any body, with the right checksum.
    fn sealed(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap();
        let bytes = [MAGIC.as_slice(), &length.to_le_bytes(), body].concat();
        [bytes.as_slice(), &checksum(&bytes).to_le_bytes()].concat()
    }

    #[test]
    fn every_record_comes_back_with_its_payload() {
        for (kind, step, attempt, value) in SagaRecord::ALL.iter().flat_map(|kind| {
            [(*kind, None, 0, 0), (*kind, Some(u32::MAX), u32::MAX, MAX_TIME), (*kind, Some(0), 1, 1)]
        }) {
            let entry = Entry { sequence: MAX_TIME, kind, step, attempt, value };
            for payload in [b"".as_slice(), b"{\"gateway\":7}", &[0; 1_000], b"TGJ1"] {
                let bytes = encode(&entry, payload).unwrap();
                let length = bytes.len();
                let followed = [bytes, b"more".to_vec()].concat();
                assert_eq!(decode(&followed), Ok(Frame { entry, payload, length }));
            }
        }
    }

    #[test]
    fn the_layout_is_pinned_so_that_another_release_can_read_it() {
        let bytes = frame(1, b"out");
        let body = [1, 1, 2, 3, 3, 0xac, 0x02, b'o', b'u', b't'];
        assert_eq!(bytes, sealed(&body));
        assert_eq!(bytes[..8], *b"TGJ1\x0a\0\0\0");
        // The numbers of the kinds are the layout, too.
        let kinds: Vec<_> = SagaRecord::ALL.iter().map(|kind| kind.as_str()).collect();
        let expected = [
            "started",
            "intent",
            "done",
            "failed",
            "unknown",
            "unwinding",
            "undo-intent",
            "undone",
            "undo-failed",
            "fallback-intent",
            "fell-back",
            "leaked",
            "retried",
            "resolved",
            "committed",
            "rolled-back",
            "stuck",
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_journal_that_was_cut_anywhere_has_its_whole_records_and_a_torn_one() {
        let (bytes, last) = three();
        let whole = read(&bytes).unwrap();
        assert_eq!((whole.frames.len(), whole.whole, whole.torn), (3, bytes.len(), false));
        for cut in last + 1..bytes.len() {
            let journal = read(&bytes[..cut]).unwrap();
            assert_eq!((journal.frames.len(), journal.whole, journal.torn), (2, last, true), "cut at {cut}");
        }
        let empty = read(b"").unwrap();
        assert_eq!((empty.frames.len(), empty.whole, empty.torn), (0, 0, false));
    }

    #[test]
    fn a_bit_that_flipped_before_the_last_record_is_corruption_never_another_record() {
        let (bytes, last) = three();
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                match read(&damaged) {
                    Err(FrameFault::Corrupt(at)) => assert!(place < last && at <= place),
                    Ok(journal) => {
                        assert!(place >= last && journal.torn, "bit {bit} of byte {place}");
                        assert_eq!((journal.frames.len(), journal.whole), (2, last));
                    }
                    Err(other) => panic!("bit {bit} of byte {place}: {other}"),
                }
            }
        }
    }

    #[test]
    fn a_tail_that_was_never_written_is_torn() {
        let (bytes, _) = three();
        for tail in [vec![0; 1], vec![0; 4_096], b"TGJ1".to_vec(), b"TG".to_vec(), vec![0xff; 100]] {
            let journal = [bytes.clone(), tail].concat();
            let read = read(&journal).unwrap();
            assert_eq!((read.frames.len(), read.whole, read.torn), (3, bytes.len(), true));
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_refused_as_such() {
        let (bytes, _) = three();
        let later = [bytes.clone(), sealed(&[2, 4, 0, 0, 0, 0, 9, 9])].concat();
        assert_eq!(read(&later), Err(FrameFault::UnknownVersion(bytes.len())));
        let fault = FrameFault::UnknownVersion(7).to_string();
        assert_eq!(fault, "the record at byte 7 has a version that this release does not know");
    }

    #[test]
    fn the_same_record_twice_counts_once_and_another_one_in_its_place_is_refused() {
        let twice = [frame(1, b"a"), frame(1, b"a"), frame(2, b"b")].concat();
        let journal = read(&twice).unwrap();
        assert_eq!((journal.frames.len(), journal.whole), (2, twice.len()));
        for wrong in
            [vec![frame(1, b"a"), frame(1, b"b")], vec![frame(2, b"a")], vec![frame(1, b"a"), frame(3, b"c")]]
        {
            assert!(matches!(read(&wrong.concat()), Err(FrameFault::Corrupt(_))), "{wrong:?}");
        }
    }

    #[test]
    fn bodies_that_no_saga_writes_are_corrupt() {
        let none: &[u8] = &[];
        let mut beyond = vec![1];
        beyond.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
        beyond.extend_from_slice(&[2, 0, 0, 0]);
        let wide_step = [1, 1, 2, 0x81, 0x80, 0x80, 0x80, 0x10, 0, 0];
        for body in [none, &[1], &[1, 1, 17, 0, 0, 0], &[1, 1, 2, 0, 0], &beyond, &wide_step] {
            assert_eq!(decode(&sealed(body)), Err(FrameFault::Corrupt(0)), "{body:?}");
        }
    }

    #[test]
    fn a_payload_has_a_limit() {
        let longest = vec![7; MAX_PAYLOAD];
        let largest = Entry {
            sequence: MAX_TIME,
            step: Some(u32::MAX),
            attempt: u32::MAX,
            value: MAX_TIME,
            ..entry(1)
        };
        let bytes = encode(&largest, &longest).unwrap();
        assert_eq!(decode(&bytes).map(|frame| frame.payload.len()), Ok(MAX_PAYLOAD));
        assert_eq!(encode(&largest, &[longest.as_slice(), b"x"].concat()), Err(FrameFault::TooLong));
        // A length that no record has is damage, and not a record that is cut short.
        let head = |length: u32| [MAGIC.as_slice(), &length.to_le_bytes()].concat();
        assert_eq!(decode(&head((1 << 20) + 64)), Err(FrameFault::Short));
        assert_eq!(decode(&head((1 << 20) + 65)), Err(FrameFault::Corrupt(0)));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        let mut random = crate::Random::seeded(1);
        let (bytes, _) = three();
        for _ in 0..20_000 {
            let mut bytes = bytes.clone();
            for _ in 0..random.between(1, 4) {
                let place = usize::try_from(random.between(0, bytes.len() as u64 - 1)).unwrap();
                match random.between(0, 3) {
                    0 => bytes[place] = u8::try_from(random.between(0, 255)).unwrap(),
                    1 => bytes.truncate(place),
                    2 => bytes.extend_from_within(place..),
                    _ => drop(bytes.remove(place)),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            if let Ok(journal) = read(&bytes) {
                assert!(journal.whole <= bytes.len() && journal.torn == (journal.whole < bytes.len()));
            }
        }
    }

    #[test]
    fn faults_are_said_with_their_place() {
        assert_eq!(FrameFault::Short.to_string(), "the record is cut short");
        let damaged = "the journal is damaged at byte 7; the saga is left as it is, for an operator";
        assert_eq!(FrameFault::Corrupt(7).to_string(), damaged);
        let unknown = "the record at byte 7 has a version that this release does not know";
        assert_eq!(FrameFault::UnknownVersion(7).to_string(), unknown);
        assert_eq!(FrameFault::TooLong.to_string(), "the payload is longer than 1048576 bytes");
    }

    #[test]
    fn a_beginning_that_is_cut_short_is_told_from_one_that_is_wrong() {
        assert_eq!(decode(b"TG"), Err(FrameFault::Short));
        assert_eq!(decode(b"GT"), Err(FrameFault::Corrupt(0)));
        assert_eq!(decode(b"TGJ1\x01"), Err(FrameFault::Short));
    }

    #[test]
    fn the_letters_of_a_beginning_in_a_torn_record_are_no_record() {
        let (bytes, _) = three();
        let torn = frame(4, b"says TGJ1 and then more");
        let journal = [bytes.as_slice(), &torn[..torn.len() - 1]].concat();
        assert_eq!(read(&journal).map(|journal| journal.torn), Ok(true));
    }
}
