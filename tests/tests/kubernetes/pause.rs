//! What keeps a pod's namespaces on a real node: a program `/pause` that waits for signals and does nothing else. Written out here, as a compiler
//! is more than a test of pods should need.

/// The program, for x86_64.
pub(crate) fn program() -> Vec<u8> {
    // mov eax, 34 (pause); syscall; and again.
    let code: &[u8] = &[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
    let length = u8::try_from(120 + code.len()).unwrap();
    let mut program = vec![0; 120];
    // The header, then one segment that is read and executed, at 0x40_0000.
    let fields: [(usize, &[u8]); 11] = [
        (0, b"\x7fELF\x02\x01\x01"),
        (16, &[2, 0, 62, 0, 1]),
        (24, &[120, 0, 64]),
        (32, &[64]),
        (52, &[64, 0, 56, 0, 1]),
        (64, &[1, 0, 0, 0, 5]),
        (80, &[0, 0, 64]),
        (88, &[0, 0, 64]),
        (96, &[length]),
        (104, &[length]),
        (113, &[16]),
    ];
    for (at, bytes) in fields {
        program[at..at + bytes.len()].copy_from_slice(bytes);
    }
    program.extend_from_slice(code);
    program
}
