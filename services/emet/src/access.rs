//! Who may use the REST API, and where metrics are served.

use anyhow::{Context, Result};
use axum::Router;
use axum::http::header;
use axum::routing::get;
use clap::ValueEnum;
use emet_storage::KvStore;
use emet_worker_service::{Auth, Tokens};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Whether requests need a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Whoever reaches the address may do everything.
    Off,
    /// Requests need a token with the scope that they ask for.
    Tokens,
}

/// Options about access to the API.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArgs {
    /// Whether requests need a token [default: off on loopback addresses, tokens on others].
    #[arg(long, env = "EMET_AUTH", value_enum)]
    auth: Option<Mode>,
    /// File with a token that allows everything; with it the first tokens are made.
    #[arg(long, env = "EMET_BOOTSTRAP_TOKEN_FILE", value_name = "FILE")]
    bootstrap_token_file: Option<PathBuf>,
    /// Address of its own for metrics; where tokens are needed, the API then asks for one for them.
    #[arg(long, env = "EMET_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
}

impl AccessArgs {
    /// What the options mean for an API at an address, whose tokens are in a store.
    pub(crate) fn auth(&self, listen: SocketAddr, kv: Arc<dyn KvStore>) -> Result<Auth> {
        let loopback = listen.ip().is_loopback();
        let mode = self.auth.unwrap_or(if loopback { Mode::Off } else { Mode::Tokens });
        let bootstrap = self.bootstrap_token_file.as_deref().map(emet_config::Secret::read);
        let bootstrap = bootstrap.transpose().context("--bootstrap-token-file")?;
        let tokens = Arc::new(Tokens::new(kv, bootstrap.as_ref()));
        let auth = match mode {
            Mode::Off => {
                if !loopback {
                    tracing::warn!("--auth off: whoever reaches {listen} may do everything");
                }
                Auth::optional(tokens)
            }
            Mode::Tokens => {
                if bootstrap.is_none() {
                    tracing::info!(
                        "requests need a token; --bootstrap-token-file gives one to make the first with"
                    );
                }
                Auth::required(tokens)
            }
        };
        Ok(auth.with_private_metrics(self.metrics_listen.is_some()))
    }

    /// Serves metrics at their own address, if they have one.
    pub(crate) async fn serve_metrics(
        &self,
        metrics: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Result<()> {
        let Some(address) = self.metrics_listen else { return Ok(()) };
        let listener = tokio::net::TcpListener::bind(address);
        let listener = listener
            .await
            .with_context(|| format!("cannot listen on {address}; see --metrics-listen"))?;
        let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
        let app =
            Router::new().route("/metrics", get(move || std::future::ready((kind, metrics()))));
        tracing::info!("metrics: http://{}/metrics", listener.local_addr()?);
        // It ends with the process: a scrape has nothing that could be lost.
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(())
    }
}
