//! Room `kernel`.
