//! The behaviour tests as a test program: on the live host, and in every VM.

fn main() -> std::process::ExitCode {
    integration::main()
}
