//! Any bytes as a probe's record: an event or an error, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitor::event::{decode, new_cgroup};

fuzz_target!(|data: &[u8]| {
    let _ = decode(data);
    let _ = new_cgroup(data);
    // The same with a head that is right, so that the decoders of each kind are reached: version, length, lane, rung.
    let mut record = data.to_vec();
    if record.len() >= 104 {
        let length = (record.len() as u32).to_ne_bytes();
        record[0..2].copy_from_slice(&monitor_common::ABI_VERSION.to_ne_bytes());
        record[2..4].copy_from_slice(&(u16::from(data[2]) % 11 + 1).to_ne_bytes());
        record[4..8].copy_from_slice(&length);
        record[26..28].copy_from_slice(&(u16::from(data[26]) % 2).to_ne_bytes());
        record[28..30].copy_from_slice(&(u16::from(data[28]) % 7 + 1).to_ne_bytes());
        let _ = decode(&record);
        let _ = new_cgroup(&record);
    }
});
