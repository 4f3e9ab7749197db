//! The programs, one file per kind of event. Names and numbers are those of `monitor_common::program`.

mod exit;
mod net;
mod unix;
