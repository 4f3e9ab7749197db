//! A fault of the agent itself, kept from taking a thread with it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs something; what it panicked with, in words. The panic itself is in the agent's log, with its place.
///
/// What `run` was changing may be half changed: whoever calls this throws it away, or can go on with it as it is.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| words(&*panic))
}

/// A text that was put together may hold what was being sent, so only fixed ones are repeated.
fn words(panic: &(dyn Any + Send)) -> String {
    let what = panic.downcast_ref::<&'static str>().copied().unwrap_or("see the agent's log");
    format!("a fault of the agent itself ({what}); please report it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_text_is_repeated_and_one_that_was_put_together_is_not() {
        assert_eq!(caught(|| 1), Ok(1));
        let fixed = caught(|| panic!("a fixed text")).unwrap_err();
        assert!(fixed.contains("a fixed text"), "{fixed}");
        let secret = caught(|| panic!("{}", "s3cret")).unwrap_err();
        // A literal argument is part of the fixed text for the compiler.
        let key = String::from("s3cret-key");
        let made = caught(|| panic!("the header is {key}")).unwrap_err();
        assert!(!made.contains("s3cret-key") && made.contains("agent's log"), "{made} {secret}");
    }
}
