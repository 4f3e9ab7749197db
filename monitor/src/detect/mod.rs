//! Room `detect`.
