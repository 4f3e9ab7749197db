//! The `sandwatch` program: everything is in the library's `cli` room.

fn main() -> std::process::ExitCode {
    monitor::cli::main()
}
