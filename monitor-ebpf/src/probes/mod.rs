//! The programs, one file per kind of event. Names and numbers are those of `monitor_common::program`.

mod bprm;
mod cgroup;
mod exec;
mod exit;
mod fork;
mod net;
mod open;
mod open_hooks;
mod open_name;
mod open_syscall;
mod unix;
mod uring;
