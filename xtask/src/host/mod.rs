//! The machine xtask runs on: where things live, which Debian packages are there, how commands are run.

pub(crate) mod apt;
mod command;
mod hash;
mod packages;
mod paths;

pub(crate) use command::{capture, checked, shown};
pub(crate) use hash::{sha256, sha256_file};
pub(crate) use packages::{Package, ensure, is_root};
pub(crate) use paths::{cache, repo, target};
