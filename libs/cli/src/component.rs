//! `emet component`.

use crate::context::Context;
use crate::failure::Failure;
use crate::functions;
use crate::output::Table;
use crate::progress::{Progress, size};
use crate::watch::Watch;
use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use emet_client::Upload;
use emet_model::{Component, ComponentType, FilePermissions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const ADD_EXAMPLES: &str = "Examples:
  emet component add shop:cart cart.wasm
  emet component add shop:mailer mailer.wasm --type ephemeral
  emet component add shop:cart cart.wasm --files data.zip --permission /db.txt=read-write";

const UPDATE_EXAMPLES: &str = "Examples:
  emet component update shop:cart cart.wasm
  emet worker update-many shop:cart --to latest    # then move the workers";

/// What can be done with components.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Upload a new component.
    #[command(visible_alias = "create", after_help = ADD_EXAMPLES)]
    Add {
        /// Its name, such as shop:cart.
        name: String,
        #[command(flatten)]
        source: Source,
    },
    /// Upload the next version of a component; existing workers keep theirs.
    #[command(after_help = UPDATE_EXAMPLES)]
    Update {
        /// Name or id.
        component: String,
        #[command(flatten)]
        source: Source,
    },
    /// List components.
    List {
        /// Only the one with this name.
        name: Option<String>,
        /// Every version, not only the latest ones.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        watch: Watch,
    },
    /// Show a component and the functions it exports.
    Get {
        /// Name or id.
        component: String,
        /// The version; the latest one if not given.
        #[arg(long, short = 'V')]
        version: Option<u64>,
        #[command(flatten)]
        watch: Watch,
    },
    /// Download the binary of a component.
    #[command(after_help = "Example:\n  emet component download shop:cart cart.wasm")]
    Download {
        /// Name or id.
        component: String,
        /// Where to write it; - is stdout.
        file: PathBuf,
        /// The version; the latest one if not given.
        #[arg(long, short = 'V')]
        version: Option<u64>,
    },
}

/// What is uploaded.
#[derive(Clone, Debug, Args)]
pub struct Source {
    /// The component binary.
    file: PathBuf,
    /// Whether workers keep their state between invocations.
    #[arg(long = "type", value_enum)]
    component_type: Option<Type>,
    /// A zip archive of files that every worker starts with.
    #[arg(long, value_name = "ZIP")]
    files: Option<PathBuf>,
    /// PATH=read-only or PATH=read-write, for paths of the archive.
    #[arg(long = "permission", requires = "files", value_name = "PATH=PERMISSION",
          value_parser = permission)]
    permissions: Vec<(String, FilePermissions)>,
    /// JSON of imports linked to other components: {"ns:pkg/iface": {"type": "WasmRpc", …}}.
    #[arg(long, value_name = "JSON")]
    dynamic_linking: Option<String>,
}

/// Component types on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Type {
    /// State is kept and survives everything.
    Durable,
    /// Every invocation starts afresh.
    Ephemeral,
}

fn permission(text: &str) -> Result<(String, FilePermissions), String> {
    let (path, permission) = text.rsplit_once('=').ok_or("expected PATH=PERMISSION")?;
    match permission {
        "read-only" => Ok((path.to_owned(), FilePermissions::ReadOnly)),
        "read-write" => Ok((path.to_owned(), FilePermissions::ReadWrite)),
        other => Err(format!("{other}: use read-only or read-write")),
    }
}

fn read(path: &Path) -> Result<Bytes, Failure> {
    std::fs::read(path)
        .map(Bytes::from)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
}

impl Source {
    fn upload(self, progress: &Progress) -> Result<Upload, Failure> {
        let wasm = read(&self.file)?;
        let files = self.files.as_deref().map(read).transpose()?;
        let dynamic_linking = match &self.dynamic_linking {
            None => BTreeMap::new(),
            Some(text) => serde_json::from_str(text)
                .map_err(|error| Failure::usage(format!("--dynamic-linking: {error}")))?,
        };
        let progress = progress.callback(wasm.len());
        Ok(Upload {
            wasm,
            component_type: self.component_type.map(|component_type| match component_type {
                Type::Durable => ComponentType::Durable,
                Type::Ephemeral => ComponentType::Ephemeral,
            }),
            files: files.map(|archive| (archive, self.permissions)),
            dynamic_linking,
            progress,
        })
    }
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Add { name, source } => add(context, &name, source).await,
        Command::Update { component, source } => update(context, &component, source).await,
        Command::List { name, all, watch } => {
            watch.run(context, async || list(context, name.as_deref(), all).await).await
        }
        Command::Get { component, version, watch } => {
            watch.run(context, async || get(context, &component, version).await).await
        }
        Command::Download { component, file, version } => {
            download(context, &component, &file, version).await
        }
    }
}

async fn add(context: &Context, name: &str, source: Source) -> Result<(), Failure> {
    let progress = Progress::new();
    let upload = source.upload(&progress)?;
    let created = context.client.create_component(name, upload).await;
    progress.finish();
    match created {
        Ok(component) => show(context, &component),
        Err(error) if error.status() == Some(409) => Err(Failure::from(error)
            .help(format!("to upload its next version: emet component update {name} FILE"))),
        Err(error) => Err(error.into()),
    }
}

async fn update(context: &Context, component: &str, source: Source) -> Result<(), Failure> {
    let id = context.component_id(component).await?;
    let progress = Progress::new();
    let upload = source.upload(&progress)?;
    let updated = context.client.update_component(id, upload).await;
    progress.finish();
    show(context, &updated?)
}

async fn list(context: &Context, name: Option<&str>, all: bool) -> Result<(), Failure> {
    let mut components = context.client.components(name).await?;
    if !all {
        components = latest(components);
    }
    context.out.show_table(&components, || {
        let mut table = Table::new(&["NAME", "VERSION", "ID", "TYPE", "SIZE", "CREATED"]);
        for component in &components {
            table.row(vec![
                component.component_name.clone(),
                component.versioned_component_id.version.to_string(),
                component.versioned_component_id.component_id.to_string(),
                format!("{:?}", component.component_type),
                size(component.component_size),
                component.created_at.map(|time| time.to_string()).unwrap_or_default(),
            ]);
        }
        table
    })
}

/// The latest version of each, by name.
fn latest(components: Vec<Component>) -> Vec<Component> {
    let mut newest = BTreeMap::new();
    for component in components {
        let id = component.versioned_component_id;
        let key = (component.component_name.clone(), id.component_id);
        let known = newest.entry(key).or_insert_with(|| component.clone());
        if known.versioned_component_id.version < id.version {
            *known = component;
        }
    }
    newest.into_values().collect()
}

async fn get(context: &Context, component: &str, version: Option<u64>) -> Result<(), Failure> {
    let id = context.component_id(component).await?;
    show(context, &context.client.component(id, version).await?)
}

fn show(context: &Context, component: &Component) -> Result<(), Failure> {
    context.out.show_fields(component, || {
        let id = component.versioned_component_id;
        let mut fields = vec![
            ("name", component.component_name.clone()),
            ("id", id.component_id.to_string()),
            ("version", id.version.to_string()),
            ("type", format!("{:?}", component.component_type)),
            ("size", size(component.component_size)),
        ];
        if let Some(time) = component.created_at {
            fields.push(("created", time.to_string()));
        }
        if let Some(checkpoints) = &component.checkpoints {
            let reason = checkpoints.reason.as_deref().unwrap_or("it cannot be rewritten");
            let text = if checkpoints.supported {
                "supported".to_owned()
            } else {
                format!("not supported: {reason}")
            };
            fields.push(("checkpoints", text));
        }
        let functions = functions::signatures(&component.metadata.exports).into_iter();
        let functions =
            functions.map(|(_, full, typ)| format!("{full}{}", functions::signature(typ)));
        fields.push(("functions", functions.collect::<Vec<_>>().join("\n")));
        let files = component.files.iter();
        let files = files.map(|file| file.path.clone()).collect::<Vec<_>>();
        if !files.is_empty() {
            fields.push(("files", files.join("\n")));
        }
        fields
    })
}

async fn download(
    context: &Context,
    component: &str,
    file: &Path,
    version: Option<u64>,
) -> Result<(), Failure> {
    let id = context.component_id(component).await?;
    let wasm = context.client.download_component(id, version).await?;
    if file == Path::new("-") {
        return context.out.bytes(&wasm);
    }
    std::fs::write(file, &wasm)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())))?;
    let done = serde_json::json!({"file": file, "bytes": wasm.len()});
    let text = format!("wrote {} to {}", size(wasm.len() as u64), file.display());
    context.out.done(&done, &text)
}
