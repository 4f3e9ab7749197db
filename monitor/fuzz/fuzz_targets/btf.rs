//! Any bytes as the kernel's type information, or as a module's on top of them: an answer or an error, never a panic or a hang.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitor::kernel::btf::{Btf, Target};

fuzz_target!(|data: &[u8]| {
    // The first byte splits the input into a base and what a module adds to it.
    let (cut, data) = match data.split_first() {
        Some((cut, rest)) => (usize::from(*cut) * rest.len() / 255, rest),
        None => return,
    };
    let (base, module) = data.split_at(cut.min(data.len()));
    let Ok(base) = Btf::parse(base) else { return };
    ask(&base);
    if let Ok(split) = Btf::parse_split(module, &base) {
        ask(&split);
    }
});

fn ask(btf: &Btf<'_>) {
    for name in ["task_struct", "file", "a", ""] {
        for path in ["f_path.dentry", "ns.inum", "a.b", "a", ""] {
            let _ = btf.offset(name, path);
        }
        let _ = btf.size(name);
        let _ = btf.enumerator(name, "a");
        let _ = btf.tracepoint_parameters(name);
        let _ = btf.attach_table(&[Target::Function(name.into()), Target::Tracepoint(name.into())]);
    }
}
