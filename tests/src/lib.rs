//! Live-kernel and VM behaviour tests.
