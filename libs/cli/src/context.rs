//! What every command works with.

use crate::failure::Failure;
use crate::options::Options;
use crate::output::Output;
use emet_client::Client;

/// The server and the output.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) out: Output,
}

impl Context {
    pub(crate) fn new(options: &Options) -> Result<Self, Failure> {
        Ok(Self { client: Client::new(&options.url)?, out: Output::new(options.format) })
    }
}
