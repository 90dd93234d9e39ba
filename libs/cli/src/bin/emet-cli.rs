//! The client alone, for machines that run no server.

fn main() -> std::process::ExitCode {
    emet_cli::run(std::env::args_os())
}
