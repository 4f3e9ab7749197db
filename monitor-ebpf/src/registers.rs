//! The arguments of a system call, asked for when it ends: from the task's saved registers (`bpf_task_pt_regs`, since
//! 5.15). With them a system call needs no program at its entry, which would cost every system call of the host its own
//! share (kernel/entry/common.c, `syscall_trace_enter`), whoever makes it.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};

use crate::block::Block;
use crate::offsets::*;
use crate::read::or_zero;

/// Whether the kernel gives the arguments of the system call (not on 5.10).
#[inline(always)]
pub fn known() -> bool {
    present(&ENUM_FUNC_TASK_PT_REGS)
        && ((present(&OFF_REGS_DI) && present(&OFF_REGS_SI) && present(&OFF_REGS_DX))
            || (present(&OFF_REGS_REGS) && present(&OFF_REGS_ORIG_X0)))
}

/// The first three arguments of the system call the current task is in.
#[inline(always)]
pub fn arguments() -> [u64; 3] {
    // SAFETY: the helpers take nothing but the current task.
    let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
    if present(&OFF_REGS_DI) {
        let mut words = [0; 3];
        let block = Block::read(&raw mut words, regs, OFF_REGS_DX.load());
        return [block.get(&OFF_REGS_DI), block.get(&OFF_REGS_SI), block.get(&OFF_REGS_DX)];
    }
    // arm64: x0 holds the return value by now, its old value is kept beside.
    let [_, second, third] = or_zero::<[u64; 3]>(regs, &OFF_REGS_REGS);
    [or_zero(regs, &OFF_REGS_ORIG_X0), second, third]
}
