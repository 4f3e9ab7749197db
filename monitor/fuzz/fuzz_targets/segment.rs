//! Any bytes as a segment of the spool: whole records or none, never a panic, and no byte is read twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitor::delivery::scan_segment;

fuzz_target!(|data: &[u8]| {
    let (records, skipped) = scan_segment(data);
    assert!(records * 12 + skipped <= data.len() as u64);
});
