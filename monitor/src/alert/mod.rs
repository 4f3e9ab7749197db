//! Room `alert`.
