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
        let client = Client::new(&options.url)?;
        let client = match token(options)? {
            Some(token) => client.with_token(&token),
            None => client,
        };
        Ok(Self { client, out: Output::new(options.format) })
    }
}

/// The token to send: from a file, else from the environment.
fn token(options: &Options) -> Result<Option<String>, Failure> {
    let token = match &options.token_file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?,
        None => std::env::var("EMET_TOKEN").unwrap_or_default(),
    };
    let token = token.trim();
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new(
            "the token is not a token: it holds spaces or special characters",
        ));
    }
    Ok((!token.is_empty()).then(|| token.to_owned()))
}
