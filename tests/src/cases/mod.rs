//! The cases, by what they are about.

mod cgroup;
mod evasion;
mod exec;
mod fork;
mod inet;
mod ladder;
mod loss;
mod open;
mod outside;
mod preempt;
mod reload;
mod socket;
mod unix;

use crate::Case;

/// All of them, in the order they run.
pub(crate) fn all() -> Vec<Case> {
    [
        exec::CASES,
        fork::CASES,
        cgroup::CASES,
        open::CASES,
        evasion::CASES,
        outside::CASES,
        inet::CASES,
        unix::CASES,
        socket::CASES,
        preempt::CASES,
        loss::CASES,
        reload::CASES,
        ladder::CASES,
    ]
    .concat()
}

/// Fails the case with a message unless the condition holds.
macro_rules! ensure_that {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            anyhow::bail!("{}: `{}` does not hold", format!($($message)+), stringify!($condition));
        }
    };
}
/// Fails the case unless both are equal.
macro_rules! ensure_same {
    ($left:expr, $right:expr, $($message:tt)+) => {
        match (&$left, &$right) {
            (left, right) => if left != right {
                anyhow::bail!("{}: {left:?} is not {right:?}", format!($($message)+));
            },
        }
    };
}
pub(crate) use {ensure_same, ensure_that};
