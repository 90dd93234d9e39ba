//! `--watch`: show something again and again.

use crate::context::Context;
use crate::failure::Failure;
use clap::Args;
use std::io::IsTerminal;
use std::time::Duration;

/// Option of commands that show a changing thing.
#[derive(Clone, Debug, Args)]
pub struct Watch {
    /// Show it again every so many seconds (2 if not given) until interrupted.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          require_equals = true)]
    watch: Option<u64>,
}

impl Watch {
    /// Runs `show` once or for ever.
    pub(crate) async fn run(
        &self,
        context: &Context,
        mut show: impl AsyncFnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(seconds) = self.watch else { return show().await };
        loop {
            if std::io::stdout().is_terminal() {
                context.out.bytes(b"\x1b[H\x1b[2J")?;
            }
            show().await?;
            tokio::time::sleep(Duration::from_secs(seconds.max(1))).await;
        }
    }
}
