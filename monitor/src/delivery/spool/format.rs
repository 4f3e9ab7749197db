//! The bytes of a segment: a header, then records, each with a mark, a length and a checksum.
//!
//! ```text
//! header  magic 8 | version 4 | class 1 | 0 0 0 | segment 8 | first record 8 | 0 0 0 0 | crc32c 4
//! record  mark 4 | length of the body 4 | crc32c of length and body 4 | body
//! body    number 8 | accepted 8 | what it is 1 | sinks 1 | (sink 8, sequence 8) each | alert as JSON
//! ```
//! Everything is little-endian. The mark has bytes that no UTF-8 text has, so a reader that lost its place finds the next
//! record again.

use crate::delivery::Class;

/// What a segment begins with.
const MAGIC: [u8; 8] = *b"SWSPOOL\n";
/// The version that is written.
pub(crate) const VERSION: u32 = 1;
/// The oldest version that is read: this one or the one before.
pub(crate) const OLDEST: u32 = if VERSION > 1 { VERSION - 1 } else { 1 };
/// Bytes of the header.
pub(crate) const HEADER: usize = 40;
/// What a record begins with.
const MARK: [u8; 4] = [0xff, b'S', b'W', 0xfe];
/// Bytes before a record's body.
pub(crate) const HEAD: usize = 12;
/// Bytes of a body before its sinks.
const FIXED: usize = 18;
/// Where, in a record, its sort is: 0 an alert.
pub(crate) const SORT: usize = HEAD + 16;
/// The longest body: the largest alert, with room for what JSON escapes, and every sink.
pub(crate) const MAX_BODY: usize = 192 << 10;
/// The longest record.
pub(crate) const MAX_RECORD: usize = HEAD + MAX_BODY;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) class: Class,
    /// Number of the segment in its class.
    pub(crate) segment: u64,
    /// Number of its first record.
    pub(crate) first: u64,
}

/// Why a header is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// It is torn, corrupt or no segment at all.
    Bad,
    /// Another version wrote it.
    Version(u32),
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// An alert.
    Alert,
    /// A gap: records of this sink were evicted or are unreadable.
    Evicted,
}

/// A sink, by a hash of its name.
pub(crate) type SinkKey = u64;

/// A record as it lies in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw<'a> {
    pub(crate) number: u64,
    pub(crate) accepted: i64,
    pub(crate) sort: Sort,
    pub(crate) seqs: Vec<(SinkKey, u64)>,
    pub(crate) alert: &'a [u8],
}

/// What stands at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// A record of so many bytes.
    Record(Raw<'a>, usize),
    /// Perhaps a record: it takes at least so many bytes to say.
    Need(usize),
    /// No record.
    Bad,
}

pub(crate) fn header(header: &Header) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12] = class_byte(header.class);
    bytes[16..24].copy_from_slice(&header.segment.to_le_bytes());
    bytes[24..32].copy_from_slice(&header.first.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..36]);
    bytes[36..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

pub(crate) fn parse_header(bytes: &[u8]) -> Result<Header, NoHeader> {
    let bytes = bytes.get(..HEADER).ok_or(NoHeader::Bad)?;
    // The version before the checksum, which another version may keep elsewhere.
    if bytes[..8] != MAGIC {
        return Err(NoHeader::Bad);
    }
    let version = u32_at(bytes, 8);
    if !(OLDEST..=VERSION).contains(&version) {
        return Err(NoHeader::Version(version));
    }
    if crc32c::crc32c(&bytes[..36]) != u32_at(bytes, 36) {
        return Err(NoHeader::Bad);
    }
    let class = class_of(bytes[12]).ok_or(NoHeader::Bad)?;
    Ok(Header { class, segment: u64_at(bytes, 16), first: u64_at(bytes, 24) })
}

/// Appends a record to `out`. `false`: it is too long, and nothing was appended.
pub(crate) fn record(raw: &Raw<'_>, out: &mut Vec<u8>) -> bool {
    let body = FIXED + 16 * raw.seqs.len() + raw.alert.len();
    let (Ok(sinks), Ok(length)) = (u8::try_from(raw.seqs.len()), u32::try_from(body)) else { return false };
    if body > MAX_BODY {
        return false;
    }
    let start = out.len();
    out.reserve(HEAD + body);
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&raw.number.to_le_bytes());
    out.extend_from_slice(&raw.accepted.to_le_bytes());
    out.push(match raw.sort {
        Sort::Alert => 0,
        Sort::Evicted => 1,
    });
    out.push(sinks);
    for (sink, seq) in &raw.seqs {
        out.extend_from_slice(&sink.to_le_bytes());
        out.extend_from_slice(&seq.to_le_bytes());
    }
    out.extend_from_slice(raw.alert);
    let crc = checksum(&out[start + 4..start + 8], &out[start + HEAD..]);
    out[start + 8..start + HEAD].copy_from_slice(&crc.to_le_bytes());
    true
}

/// What stands at the beginning of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let known = bytes.len().min(MARK.len());
    if bytes[..known] != MARK[..known] {
        return Parsed::Bad;
    }
    if bytes.len() < HEAD {
        return Parsed::Need(HEAD);
    }
    let length = u32_at(bytes, 4) as usize;
    if !(FIXED..=MAX_BODY).contains(&length) {
        return Parsed::Bad;
    }
    let Some(body) = bytes.get(HEAD..HEAD + length) else { return Parsed::Need(HEAD + length) };
    if checksum(&bytes[4..8], body) != u32_at(bytes, 8) {
        return Parsed::Bad;
    }
    let sort = match body[16] {
        0 => Sort::Alert,
        1 => Sort::Evicted,
        _ => return Parsed::Bad,
    };
    let sinks = usize::from(body[17]);
    let Some(seqs) = body.get(FIXED..FIXED + 16 * sinks) else { return Parsed::Bad };
    let seqs = seqs.chunks_exact(16).map(|pair| (u64_at(pair, 0), u64_at(pair, 8))).collect();
    let raw = Raw {
        number: u64_at(body, 0),
        accepted: u64_at(body, 8).cast_signed(),
        sort,
        seqs,
        alert: &body[FIXED + 16 * sinks..],
    };
    Parsed::Record(raw, HEAD + length)
}

/// How long a record says it is that begins like this, if it is one.
pub(crate) fn said_length(head: &[u8; HEAD]) -> Option<usize> {
    let length = u32_at(head, 4) as usize;
    (head[..4] == MARK && (FIXED..=MAX_BODY).contains(&length)).then_some(HEAD + length)
}

/// Where, from `from` on, a record may begin.
pub(crate) fn next_mark(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let at = rest.windows(MARK.len()).position(|window| window == MARK)?;
    Some(from + at)
}

fn checksum(length: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(length), body)
}

fn class_byte(class: Class) -> u8 {
    match class {
        Class::High => b'h',
        Class::Normal => b'n',
        Class::Low => b'l',
    }
}

fn class_of(byte: u8) -> Option<Class> {
    Class::ALL.into_iter().find(|class| class_byte(*class) == byte)
}

/// Four bytes that are there: every caller checked the length.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(alert: &[u8]) -> Raw<'_> {
        Raw { number: 7, accepted: -3, sort: Sort::Evicted, seqs: vec![(1, 2), (3, u64::MAX)], alert }
    }

    #[test]
    fn header_is_read_as_written_and_a_changed_one_is_not() {
        let said = Header { class: Class::Low, segment: 3, first: 1000 };
        let mut bytes = header(&said);
        assert_eq!(parse_header(&bytes), Ok(said));
        bytes[24] ^= 1;
        assert_eq!(parse_header(&bytes), Err(NoHeader::Bad));
        assert_eq!(parse_header(&bytes[..HEADER - 1]), Err(NoHeader::Bad));
    }

    #[test]
    fn header_of_a_newer_or_a_much_older_version_is_named() {
        for version in [0, VERSION + 1] {
            let mut bytes = header(&Header { class: Class::High, segment: 1, first: 1 });
            bytes[8..12].copy_from_slice(&version.to_le_bytes());
            assert_eq!(parse_header(&bytes), Err(NoHeader::Version(version)));
        }
    }

    #[test]
    fn record_that_would_be_too_long_is_refused_whole() {
        let mut out = Vec::new();
        assert!(!record(&raw(&vec![b' '; MAX_BODY]), &mut out));
        assert!(out.is_empty());
    }

    #[test]
    fn segments_that_others_wrote_as_this_says_are_read() {
        let whole = include_bytes!("../../../fuzz/seeds/segment/whole");
        assert_eq!(super::super::scan(whole), (3, 0));
        assert_eq!(parse_header(whole), Ok(Header { class: Class::Normal, segment: 1, first: 1 }));
        let corrupt = include_bytes!("../../../fuzz/seeds/segment/corrupt-middle");
        let (records, skipped) = super::super::scan(corrupt);
        assert!(records == 2 && (60..90).contains(&skipped), "{records} {skipped}");
        assert_eq!(super::super::scan(include_bytes!("../../../fuzz/seeds/segment/torn")).0, 1);
    }

    proptest! {
        #[test]
        fn record_is_read_as_written(alert in proptest::collection::vec(any::<u8>(), 0..500)) {
            let mut out = Vec::new();
            prop_assert!(record(&raw(&alert), &mut out));
            prop_assert_eq!(parse(&out), Parsed::Record(raw(&alert), out.len()));
            let torn = parse(&out[..out.len() - 1]);
            prop_assert!(matches!(torn, Parsed::Need(_)));
        }

        #[test]
        fn one_flipped_bit_is_noticed(at in 0usize..100, bit in 0u8..8) {
            let mut out = Vec::new();
            record(&raw(&[b'x'; 60]), &mut out);
            let at = at % out.len();
            out[at] ^= 1 << bit;
            let parsed = parse(&out);
            prop_assert!(!matches!(parsed, Parsed::Record(..)));
        }
    }
}
