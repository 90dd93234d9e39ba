//! What is added at the end of the component: the accessor module, and the exports by which the
//! host reads and writes memories, globals and the handle table.
//!
//! Reading a memory is a call out of the component with a `list<u8>` that is the memory itself, so
//! the host sees it without a copy and no byte of the guest changes. Writing is a call into it with
//! a `list<u8>`, whose `realloc` answers with the place that was set before by `seek`.

use crate::modules::ANY_MEMORY;
use crate::resources::{Resources, Source};
use crate::rewrite::{LEDGER_INSTANCE, Next, State};
use crate::{GlobalType, PREFIX, Plan, Refusal, SAVE_IMPORT, give_import, ledger, show_import};
use std::collections::BTreeSet;
use wasm_encoder::{
    Alias, BlockType, CanonicalFunctionSection, CanonicalOption, CodeSection, Component,
    ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentImportSection,
    ComponentTypeRef, ComponentTypeSection, ComponentValType, ConstExpr, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, ImportSection, InstanceSection,
    InstructionSink, Module, ModuleArg, ModuleSection, PrimitiveValType, TypeSection, ValType,
};
use wasmparser::types::TypesRef;

/// Module that the accessor imports canonical functions from.
const CANONICAL: &str = "canonical";
const LEDGER: &str = "ledger";

/// Component-level function types, by their order after the present types.
#[derive(Clone, Copy)]
enum Ty {
    NoneU32,
    U32,
    U32U32,
    TwoNone,
    TwoU32,
    Three,
    Bytes,
    Write,
    Save,
    U32U64,
    U32U64None,
    Filler,
    Count,
}

/// Adds everything; says what there is.
pub(crate) fn append(
    out: &mut Component,
    types: TypesRef<'_>,
    resources: &Resources,
    states: &[State],
    next: Next,
) -> Result<Plan, Refusal> {
    let mut appender = Appender {
        out,
        first_type: types.component_type_count(),
        types: types.component_type_count(),
        funcs: types.component_function_count(),
        core_memories: types.memory_count(),
        next,
        canonical: Vec::new(),
        memories: Vec::new(),
        own_exports: Vec::new(),
    };
    appender.add_types();
    appender.add_saves(states);
    appender.add_kinds(resources);
    let accessor = AccessorModule::new(states, resources);
    let instance = appender.instantiate(&accessor, states);
    appender.export(instance, &accessor, resources);
    Ok(Plan {
        memories: u32::try_from(appender.memories.len()).unwrap_or(u32::MAX),
        globals: accessor.globals.iter().map(|(_, _, ty)| *ty).collect(),
        kinds: resources.found.iter().map(|found| found.kind.clone()).collect(),
    })
}

struct Appender<'a> {
    out: &'a mut Component,
    first_type: u32,
    types: u32,
    funcs: u32,
    core_memories: u32,
    next: Next,
    /// Canonical functions for the accessor, by name.
    canonical: Vec<(String, u32)>,
    /// Core memories, in the order of the plan.
    memories: Vec<u32>,
    /// Kind, exported type, and core `resource.new` of the component's own resources.
    own_exports: Vec<(u32, u32, u32)>,
}

const U32: ComponentValType = ComponentValType::Primitive(PrimitiveValType::U32);
const U64: ComponentValType = ComponentValType::Primitive(PrimitiveValType::U64);

impl Appender<'_> {
    fn ty(&self, ty: Ty) -> u32 {
        self.first_type + ty as u32
    }

    fn add_types(&mut self) {
        let bytes = ComponentValType::Type(self.ty(Ty::Bytes));
        let mut types = ComponentTypeSection::new();
        let none: [(&str, ComponentValType); 0] = [];
        types.function().params(none).result(Some(U32));
        types.function().params([("a", U32)]).result(None);
        types.function().params([("a", U32)]).result(Some(U32));
        types.function().params([("a", U32), ("b", U32)]).result(None);
        types.function().params([("a", U32), ("b", U32)]).result(Some(U32));
        types.function().params([("a", U32), ("b", U32), ("c", U32)]).result(None);
        types.defined_type().list(ComponentValType::Primitive(PrimitiveValType::U8));
        types.function().params([("bytes", bytes)]).result(None);
        types.function().params([("offset", U32), ("bytes", bytes)]).result(None);
        types.function().params([("a", U32)]).result(Some(U64));
        types.function().params([("a", U32), ("b", U64)]).result(None);
        types.resource(ValType::I32, None);
        self.out.section(&types);
        self.types += Ty::Count as u32;
    }

    /// A lowered `save` for each memory.
    fn add_saves(&mut self, states: &[State]) {
        let mut aliases = ComponentAliasSection::new();
        for state in states {
            for (name, _) in &state.owned.memories {
                aliases.alias(Alias::CoreInstanceExport {
                    instance: state.instance,
                    kind: ExportKind::Memory,
                    name,
                });
                self.memories.push(Next::take(&mut self.core_memories));
            }
        }
        if self.memories.is_empty() {
            return;
        }
        let mut imports = ComponentImportSection::new();
        imports.import(SAVE_IMPORT, ComponentTypeRef::Func(self.ty(Ty::Save)));
        let save = Next::take(&mut self.funcs);
        let mut canonical = CanonicalFunctionSection::new();
        for (n, memory) in self.memories.iter().enumerate() {
            canonical.lower(save, [CanonicalOption::Memory(*memory)]);
            self.canonical.push((format!("save{n}"), Next::take(&mut self.next.func)));
        }
        self.out.section(&aliases).section(&imports).section(&canonical);
    }

    /// Canonical functions for each kind of resource that can be made again.
    fn add_kinds(&mut self, resources: &Resources) {
        for (kind, found) in (1u32..).zip(&resources.found) {
            match (&found.source, &found.kind.label) {
                (Source::Imported { instance, alike }, Some(label)) => {
                    self.add_imported(
                        kind,
                        *instance,
                        &found.kind.name,
                        &give_import(label, *alike),
                        &show_import(label, *alike),
                    );
                }
                (Source::Imported { .. }, None) => {}
                (Source::Own { ty }, _) => self.add_own(kind, *ty),
            }
        }
        let mut canonical = CanonicalFunctionSection::new();
        canonical.resource_new(self.ty(Ty::Filler)).resource_drop(self.ty(Ty::Filler));
        self.out.section(&canonical);
        self.canonical.push(("fill".into(), Next::take(&mut self.next.func)));
        self.canonical.push(("unfill".into(), Next::take(&mut self.next.func)));
    }

    fn add_imported(&mut self, kind: u32, instance: u32, name: &str, give: &str, show: &str) {
        let mut aliases = ComponentAliasSection::new();
        aliases.alias(Alias::InstanceExport { instance, kind: ComponentExportKind::Type, name });
        let resource = Next::take(&mut self.types);
        let (own, borrow) =
            (ComponentValType::Type(resource + 1), ComponentValType::Type(resource + 2));
        let mut types = ComponentTypeSection::new();
        types.defined_type().own(resource);
        types.defined_type().borrow(resource);
        let none: [(&str, ComponentValType); 0] = [];
        types.function().params(none).result(Some(own));
        types.function().params([("shown", borrow)]).result(None);
        self.types += 4;
        let mut imports = ComponentImportSection::new();
        imports
            .import(give, ComponentTypeRef::Func(resource + 3))
            .import(show, ComponentTypeRef::Func(resource + 4));
        let mut canonical = CanonicalFunctionSection::new();
        canonical.lower(self.funcs, []).lower(self.funcs + 1, []);
        self.funcs += 2;
        self.canonical.push((format!("give{kind}"), Next::take(&mut self.next.func)));
        self.canonical.push((format!("show{kind}"), Next::take(&mut self.next.func)));
        self.out.section(&aliases).section(&types).section(&imports).section(&canonical);
    }

    fn add_own(&mut self, kind: u32, ty: u32) {
        let mut canonical = CanonicalFunctionSection::new();
        canonical.resource_new(ty).resource_rep(ty);
        let new = Next::take(&mut self.next.func);
        self.canonical.push((format!("new{kind}"), new));
        self.canonical.push((format!("rep{kind}"), Next::take(&mut self.next.func)));
        // Only exported types can be part of the type of an exported function.
        let mut exports = ComponentExportSection::new();
        exports.export(
            format!("{PREFIX}resource-{kind}").as_str(),
            ComponentExportKind::Type,
            ty,
            None,
        );
        let exported = Next::take(&mut self.types);
        self.out.section(&canonical).section(&exports);
        self.own_exports.push((kind, exported, new));
    }

    fn instantiate(&mut self, accessor: &AccessorModule, states: &[State]) -> u32 {
        self.out.section(&ModuleSection(&accessor.module(&self.canonical)));
        let module = Next::take(&mut self.next.module);
        let mut instances = InstanceSection::new();
        instances.export_items(
            self.canonical.iter().map(|(name, func)| (name.as_str(), ExportKind::Func, *func)),
        );
        let canonical = Next::take(&mut self.next.instance);
        let owners: BTreeSet<u32> = states.iter().map(|state| state.instance).collect();
        let args = owners.into_iter().map(|owner| (owner_name(owner), owner));
        let args =
            args.chain([(CANONICAL.to_owned(), canonical), (LEDGER.to_owned(), LEDGER_INSTANCE)]);
        let args: Vec<(String, ModuleArg)> =
            args.map(|(name, instance)| (name, ModuleArg::Instance(instance))).collect();
        instances.instantiate(module, args.iter().map(|(name, arg)| (name.as_str(), *arg)));
        self.out.section(&instances);
        Next::take(&mut self.next.instance)
    }

    fn export(&mut self, accessor: u32, module: &AccessorModule, resources: &Resources) {
        let _ = resources;
        let mut lifts = Lifts::default();
        let realloc = lifts.alias(self, accessor, "realloc");
        for (name, ty) in module.plain_exports() {
            let func = lifts.alias(self, accessor, name);
            lifts.lift(name.to_owned(), func, self.ty(ty), &[]);
        }
        for (name, ty) in
            [(ledger::KIND, Ty::U32U32), (ledger::HIGHEST, Ty::NoneU32), (ledger::RAISE, Ty::U32)]
        {
            let func = lifts.alias(self, LEDGER_INSTANCE, name);
            lifts.lift(name.to_owned(), func, self.ty(ty), &[]);
        }
        for (n, memory) in self.memories.iter().enumerate() {
            let func = write_func(&mut lifts, &mut self.next, accessor);
            let options = [CanonicalOption::Memory(*memory), CanonicalOption::Realloc(realloc)];
            lifts.lift(format!("write-{n}"), func, self.first_type + Ty::Write as u32, &options);
        }
        let same = lifts.alias(self, accessor, "same");
        let mut types = ComponentTypeSection::new();
        for (kind, resource, new) in &self.own_exports {
            let (own, borrow) =
                (ComponentValType::Type(self.types), ComponentValType::Type(self.types + 1));
            types.defined_type().own(*resource);
            types.defined_type().borrow(*resource);
            types.function().params([("rep", U32)]).result(Some(own));
            types.function().params([("resource", borrow)]).result(Some(U32));
            lifts.lift(format!("own-{kind}"), *new, self.types + 2, &[]);
            lifts.lift(format!("borrow-{kind}"), same, self.types + 3, &[]);
            self.types += 4;
        }
        let mut exports = ComponentExportSection::new();
        for (name, func) in lifts.names.iter().zip(self.funcs..) {
            exports.export(
                format!("{PREFIX}{name}").as_str(),
                ComponentExportKind::Func,
                func,
                None,
            );
        }
        self.out
            .section(&types)
            .section(&lifts.aliases)
            .section(&lifts.canonical)
            .section(&exports);
    }
}

fn write_func(lifts: &mut Lifts, next: &mut Next, accessor: u32) -> u32 {
    lifts.aliases.alias(Alias::CoreInstanceExport {
        instance: accessor,
        kind: ExportKind::Func,
        name: "write",
    });
    Next::take(&mut next.func)
}

/// Functions that are lifted and exported.
#[derive(Default)]
struct Lifts {
    aliases: ComponentAliasSection,
    canonical: CanonicalFunctionSection,
    names: Vec<String>,
}

impl Lifts {
    fn alias(&mut self, appender: &mut Appender<'_>, instance: u32, name: &str) -> u32 {
        self.aliases.alias(Alias::CoreInstanceExport { instance, kind: ExportKind::Func, name });
        Next::take(&mut appender.next.func)
    }

    fn lift(&mut self, name: String, func: u32, ty: u32, options: &[CanonicalOption]) {
        self.canonical.lift(func, ty, options.iter().copied());
        self.names.push(name);
    }
}

fn owner_name(instance: u32) -> String {
    format!("i{instance}")
}

/// The core module of the accessor.
struct AccessorModule {
    /// Instance, name.
    memories: Vec<(u32, String)>,
    globals: Vec<(u32, String, GlobalType)>,
    /// Kinds of the host of which one can be made.
    imported: Vec<u32>,
    /// Kinds of the component.
    own: Vec<u32>,
}

/// Types of core functions, by their order in the module.
mod core {
    pub(super) const NONE_I32: u32 = 0;
    pub(super) const I32: u32 = 1;
    pub(super) const I32_I32: u32 = 2;
    pub(super) const TWO: u32 = 3;
    pub(super) const TWO_I32: u32 = 4;
    pub(super) const THREE: u32 = 5;
    pub(super) const FOUR_I32: u32 = 6;
    pub(super) const I32_I64: u32 = 7;
    pub(super) const I32_AND_I64: u32 = 8;
}

impl AccessorModule {
    fn new(states: &[State], resources: &Resources) -> Self {
        let memories = states.iter().flat_map(|state| {
            state.owned.memories.iter().map(|(name, _)| (state.instance, name.clone()))
        });
        let globals = states.iter().flat_map(|state| {
            state.owned.globals.iter().map(|(name, ty)| (state.instance, name.clone(), *ty))
        });
        let remade = (1u32..).zip(&resources.found).filter(|(_, found)| found.kind.label.is_some());
        Self {
            memories: memories.collect(),
            globals: globals.collect(),
            imported: remade.map(|(kind, _)| kind).collect(),
            own: resources.own.clone(),
        }
    }

    /// Exports that are lifted as they are.
    fn plain_exports(&self) -> [(&'static str, Ty); 12] {
        [
            ("size", Ty::U32U32),
            ("grow", Ty::TwoU32),
            ("read", Ty::Three),
            ("seek", Ty::U32),
            ("get", Ty::U32U64),
            ("set", Ty::U32U64None),
            ("give", Ty::U32U32),
            ("show", Ty::TwoNone),
            ("new", Ty::TwoU32),
            ("rep", Ty::TwoU32),
            ("fill", Ty::NoneU32),
            ("unfill", Ty::U32),
        ]
    }

    fn module(&self, canonical: &[(String, u32)]) -> Module {
        let mut imports = Imports { section: ImportSection::new(), funcs: Vec::new() };
        imports.func(LEDGER, ledger::INSERT, core::TWO);
        for (name, _) in canonical {
            imports.func(CANONICAL, name, canonical_type(name));
        }
        for (instance, name) in &self.memories {
            imports.section.import(&owner_name(*instance), name, EntityType::Memory(ANY_MEMORY));
        }
        for (instance, name, ty) in &self.globals {
            let ty =
                wasm_encoder::GlobalType { val_type: val_type(*ty), mutable: true, shared: false };
            imports.section.import(&owner_name(*instance), name, EntityType::Global(ty));
        }
        let mut globals = GlobalSection::new();
        globals.global(
            wasm_encoder::GlobalType { val_type: ValType::I32, mutable: true, shared: false },
            &ConstExpr::i32_const(0),
        );
        let mut functions = Functions::new(u32::try_from(imports.funcs.len()).unwrap_or(u32::MAX));
        self.add_memory_functions(&mut functions, &imports);
        self.add_global_functions(&mut functions);
        self.add_handle_functions(&mut functions, &imports);
        let mut module = Module::new();
        module
            .section(&core_types())
            .section(&imports.section)
            .section(&functions.functions)
            .section(&globals);
        module.section(&functions.exports).section(&functions.code);
        module
    }

    /// Index of the global with the address of the next write.
    fn place(&self) -> u32 {
        u32::try_from(self.globals.len()).unwrap_or(u32::MAX)
    }

    fn add_memory_functions(&self, functions: &mut Functions, imports: &Imports) {
        let numbers: Vec<u32> = (0..).zip(&self.memories).map(|(n, _)| n).collect();
        functions.add("size", core::I32_I32, |s| {
            switch(s, &numbers, |s, n| {
                s.memory_size(n);
            })
        });
        functions.add("grow", core::TWO_I32, |s| {
            switch(s, &numbers, |s, n| {
                s.local_get(1).memory_grow(n);
            })
        });
        functions.add("read", core::THREE, |s| {
            switch(s, &numbers, |s, n| {
                s.local_get(1).local_get(1).local_get(2).call(imports.find(&format!("save{n}")));
            });
        });
        functions.add("write", core::TWO, |_| {});
        functions.add("seek", core::I32, |s| {
            s.local_get(0).global_set(self.place());
        });
        functions.add("realloc", core::FOUR_I32, |s| {
            s.global_get(self.place());
        });
        functions.add("same", core::I32_I32, |s| {
            s.local_get(0);
        });
    }

    fn add_global_functions(&self, functions: &mut Functions) {
        let numbers: Vec<u32> = (0..).zip(&self.globals).map(|(n, _)| n).collect();
        let types: Vec<GlobalType> = self.globals.iter().map(|(_, _, ty)| *ty).collect();
        let ty = |n: u32| {
            usize::try_from(n).ok().and_then(|n| types.get(n)).copied().unwrap_or(GlobalType::I64)
        };
        functions.add("get", core::I32_I64, |s| {
            switch(s, &numbers, |s, n| {
                s.global_get(n);
                match ty(n) {
                    GlobalType::I32 => {
                        s.i64_extend_i32_u();
                    }
                    GlobalType::I64 => {}
                    GlobalType::F32 => {
                        s.i32_reinterpret_f32().i64_extend_i32_u();
                    }
                    GlobalType::F64 => {
                        s.i64_reinterpret_f64();
                    }
                }
            });
        });
        functions.add("set", core::I32_AND_I64, |s| {
            switch(s, &numbers, |s, n| {
                s.local_get(1);
                match ty(n) {
                    GlobalType::I32 => {
                        s.i32_wrap_i64();
                    }
                    GlobalType::I64 => {}
                    GlobalType::F32 => {
                        s.i32_wrap_i64().f32_reinterpret_i32();
                    }
                    GlobalType::F64 => {
                        s.f64_reinterpret_i64();
                    }
                }
                s.global_set(n);
            });
        });
    }

    fn add_handle_functions(&self, functions: &mut Functions, imports: &Imports) {
        let insert = imports.find(ledger::INSERT);
        // The new index is left on the stack, and the entry in the ledger.
        let noted = move |s: &mut InstructionSink<'_>, kind: u32, scratch: u32| {
            s.local_set(scratch)
                .i32_const(kind.cast_signed())
                .local_get(scratch)
                .call(insert)
                .local_get(scratch);
        };
        functions.add("give", core::I32_I32, |s| {
            switch(s, &self.imported, |s, kind| {
                s.call(imports.find(&format!("give{kind}")));
                noted(s, kind, 0);
            });
        });
        functions.add("show", core::TWO, |s| {
            switch(s, &self.imported, |s, kind| {
                s.local_get(1).call(imports.find(&format!("show{kind}")));
            });
        });
        functions.add("new", core::TWO_I32, |s| {
            switch(s, &self.own, |s, kind| {
                s.local_get(1).call(imports.find(&format!("new{kind}")));
                noted(s, kind, 1);
            });
        });
        functions.add("rep", core::TWO_I32, |s| {
            switch(s, &self.own, |s, kind| {
                s.local_get(1).call(imports.find(&format!("rep{kind}")));
            });
        });
        functions.add("fill", core::NONE_I32, |s| {
            s.i32_const(0).call(imports.find("fill"));
        });
        functions.add("unfill", core::I32, |s| {
            s.local_get(0).call(imports.find("unfill"));
        });
    }
}

fn canonical_type(name: &str) -> u32 {
    match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "save" => core::THREE,
        "give" => core::NONE_I32,
        "show" | "unfill" => core::I32,
        _ => core::I32_I32,
    }
}

/// Runs the part that belongs to the number in parameter 0, and returns; traps if there is none.
fn switch(
    s: &mut InstructionSink<'_>,
    numbers: &[u32],
    part: impl Fn(&mut InstructionSink<'_>, u32),
) {
    for number in numbers {
        s.local_get(0).i32_const(number.cast_signed()).i32_eq().if_(BlockType::Empty);
        part(s, *number);
        s.return_().end();
    }
    s.unreachable();
}

fn val_type(ty: GlobalType) -> ValType {
    match ty {
        GlobalType::I32 => ValType::I32,
        GlobalType::I64 => ValType::I64,
        GlobalType::F32 => ValType::F32,
        GlobalType::F64 => ValType::F64,
    }
}

fn core_types() -> TypeSection {
    use ValType::{I32, I64};
    let all: [(&[ValType], &[ValType]); 9] = [
        (&[], &[I32]),
        (&[I32], &[]),
        (&[I32], &[I32]),
        (&[I32, I32], &[]),
        (&[I32, I32], &[I32]),
        (&[I32, I32, I32], &[]),
        (&[I32, I32, I32, I32], &[I32]),
        (&[I32], &[I64]),
        (&[I32, I64], &[]),
    ];
    let mut types = TypeSection::new();
    for (params, results) in all {
        types.ty().function(params.iter().copied(), results.iter().copied());
    }
    types
}

struct Imports {
    section: ImportSection,
    funcs: Vec<String>,
}

impl Imports {
    fn func(&mut self, module: &str, name: &str, ty: u32) {
        self.section.import(module, name, EntityType::Function(ty));
        self.funcs.push(name.to_owned());
    }

    fn find(&self, name: &str) -> u32 {
        let at = self.funcs.iter().position(|func| func == name);
        at.and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX)
    }
}

struct Functions {
    functions: FunctionSection,
    exports: ExportSection,
    code: CodeSection,
    next: u32,
}

impl Functions {
    fn new(imported: u32) -> Self {
        Self {
            functions: FunctionSection::new(),
            exports: ExportSection::new(),
            code: CodeSection::new(),
            next: imported,
        }
    }

    fn add(&mut self, name: &str, ty: u32, body: impl FnOnce(&mut InstructionSink<'_>)) {
        self.functions.function(ty);
        self.exports.export(name, ExportKind::Func, self.next);
        self.next += 1;
        let mut function = Function::new([]);
        body(&mut function.instructions());
        function.instructions().end();
        self.code.function(&function);
    }
}
