//! `emet token`.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Table;
use clap::Subcommand;
use emet_api::rest::{NewToken, Scope, TokenInfo};
use emet_config::HumanDuration;

const EXAMPLES: &str = "Examples:
  emet token create ci --scope read --scope invoke --expires 90d
  emet token create ops --scope admin --token-file bootstrap-token
  emet token create ci --scope read -o json | jq -r .token > token";

/// What can be done with tokens. The server needs one with the scope 'admin' for it.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make a token and print it; it cannot be seen again.
    #[command(after_help = EXAMPLES)]
    Create {
        /// What it is for.
        name: String,
        /// What it allows: read, invoke, or admin for everything; repeat it for more.
        #[arg(long = "scope", required = true)]
        scopes: Vec<Scope>,
        /// How long it is valid, such as 90d; for ever if not given.
        #[arg(long)]
        expires: Option<HumanDuration>,
    },
    /// List the tokens, without their secrets.
    List,
    /// Revoke a token by its id.
    Revoke {
        /// The id, as 'emet token list' shows it.
        id: String,
    },
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create { name, scopes, expires } => {
            let expires_in_seconds = expires.map(|HumanDuration(time)| time.as_secs());
            let new = NewToken { name, scopes, expires_in_seconds };
            let created = context.client.create_token(&new).await?;
            context.out.show(&created, || created.token.clone())
        }
        Command::List => {
            let tokens = context.client.tokens().await?;
            context.out.show_table(&tokens, || table(&tokens))
        }
        Command::Revoke { id } => {
            context.client.revoke_token(&id).await?;
            context.out.done(&id, "revoked; servers that know it refuse it within 5 seconds")
        }
    }
}

fn table(tokens: &[TokenInfo]) -> Table {
    let mut table = Table::new(&["ID", "NAME", "SCOPES", "CREATED", "EXPIRES"]);
    for token in tokens {
        let scopes: Vec<String> = token.scopes.iter().map(ToString::to_string).collect();
        let expires = token.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let created = token.created_at.to_string();
        table.row(vec![token.id.clone(), token.name.clone(), scopes.join(","), created, expires]);
    }
    table
}
