//! compare-wit OURS THEIRS PACKAGE...: compares packages (`golem:api@0.2.2`) of two WIT folders type by type and
//! function by function. Order counts where it is part of the binary form (fields, cases, parameters), else it does not;
//! neither does documentation. Exits with 1 if there is a difference.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use wit_parser::{Function, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [ours, theirs, packages @ ..] = args.as_slice() else {
        anyhow::bail!("usage: compare-wit OURS THEIRS PACKAGE...");
    };
    let (ours, theirs) = (load(ours)?, load(theirs)?);
    let mut differences = 0;
    for package in packages {
        let (a, b) = (describe(&ours, package), describe(&theirs, package));
        if b.is_empty() {
            anyhow::bail!("{package} is not among the texts to compare with");
        }
        for line in b.difference(&a) {
            println!("{package}: missing  {line}");
        }
        for line in a.difference(&b) {
            println!("{package}: extra    {line}");
        }
        differences += a.symmetric_difference(&b).count();
        println!("{package}: {} definitions compared", b.len());
    }
    if differences > 0 {
        std::process::exit(1);
    }
    Ok(())
}

fn load(dir: &str) -> Result<Resolve> {
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    resolve.push_dir(Path::new(dir)).with_context(|| format!("in {dir}"))?;
    Ok(resolve)
}

/// One line for each definition in each interface of a package.
fn describe(resolve: &Resolve, package: &str) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (_, p) in resolve.packages.iter().filter(|(_, p)| p.name.to_string() == package) {
        for (name, id) in &p.interfaces {
            interface(resolve, name, *id, &mut lines);
        }
    }
    lines
}

fn interface(resolve: &Resolve, name: &str, id: InterfaceId, lines: &mut BTreeSet<String>) {
    let interface = &resolve.interfaces[id];
    for (type_name, id) in &interface.types {
        lines.insert(format!("{name}.{type_name} = {}", definition(resolve, *id)));
    }
    for (function_name, f) in &interface.functions {
        lines.insert(format!("{name}.{function_name}{}", signature(resolve, f)));
    }
}

fn signature(resolve: &Resolve, f: &Function) -> String {
    let params: Vec<_> =
        f.params.iter().map(|p| format!("{}: {}", p.name, ty(resolve, &p.ty))).collect();
    let result = f.result.as_ref().map(|t| format!(" -> {}", ty(resolve, t))).unwrap_or_default();
    format!("({}){result}", params.join(", "))
}

fn ty(resolve: &Resolve, t: &Type) -> String {
    let Type::Id(id) = t else { return format!("{t:?}").to_lowercase() };
    let def = &resolve.types[*id];
    // A name is enough: the definition has a line of its own.
    match &def.name {
        Some(name) => name.clone(),
        None => definition(resolve, *id),
    }
}

fn definition(resolve: &Resolve, id: TypeId) -> String {
    let t = |t: &Type| ty(resolve, t);
    let o = |t: &Option<Type>| t.as_ref().map_or("_".to_owned(), |t| ty(resolve, t));
    let join = |items: Vec<String>| items.join(", ");
    match &resolve.types[id].kind {
        TypeDefKind::Record(r) => {
            format!(
                "record({})",
                join(r.fields.iter().map(|f| format!("{}: {}", f.name, t(&f.ty))).collect())
            )
        }
        TypeDefKind::Variant(v) => {
            format!(
                "variant({})",
                join(v.cases.iter().map(|c| format!("{}: {}", c.name, o(&c.ty))).collect())
            )
        }
        TypeDefKind::Enum(e) => {
            format!("enum({})", join(e.cases.iter().map(|c| c.name.clone()).collect()))
        }
        TypeDefKind::Flags(f) => {
            format!("flags({})", join(f.flags.iter().map(|f| f.name.clone()).collect()))
        }
        TypeDefKind::Tuple(x) => format!("tuple<{}>", join(x.types.iter().map(t).collect())),
        TypeDefKind::List(x) => format!("list<{}>", t(x)),
        TypeDefKind::Option(x) => format!("option<{}>", t(x)),
        TypeDefKind::Result(r) => format!("result<{}, {}>", o(&r.ok), o(&r.err)),
        TypeDefKind::Handle(Handle::Own(id)) => format!("own<{}>", t(&Type::Id(*id))),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", t(&Type::Id(*id))),
        TypeDefKind::Resource => "resource".to_owned(),
        // `use` of a type elsewhere: where it comes from is part of the shape.
        TypeDefKind::Type(Type::Id(used)) => {
            let owner = match resolve.types[*used].owner {
                TypeOwner::Interface(i) => resolve.id_of(i).unwrap_or_default(),
                _ => String::new(),
            };
            format!("{owner}#{}", t(&Type::Id(*used)))
        }
        TypeDefKind::Type(x) => t(x),
        other => format!("{other:?}"),
    }
}
