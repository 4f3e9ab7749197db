//! Any bytes as files of the local log: a verdict, never a panic; and what is called whole has a line for each entry.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitor::ledger::verify_files;

fuzz_target!(|data: &[u8]| {
    // Two files, split where the input says.
    let (first, rest) = data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first), rest));
    let (one, two) = rest.split_at(rest.len() * first / 255);
    for files in [&[(1, rest)][..], &[(1, one), (2, two)][..]] {
        let found = verify_files(files, &[]);
        if let Ok(found) = found
            && found.broken.is_none()
        {
            let lines = files.iter().flat_map(|(_, bytes)| bytes.iter()).filter(|byte| **byte == b'\n').count();
            assert_eq!(found.entries, lines as u64);
        }
    }
});
