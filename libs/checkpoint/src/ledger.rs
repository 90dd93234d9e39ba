//! The ledger: which entries the handle table of the component has, and of what kind they are.
//!
//! It is a module of its own, called by the wrappers around canonical functions. Kinds are kept in
//! a table of functions that return them, not in a memory: a memory would count as the guest's.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ElementSection, Elements, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, HeapType, InstructionSink, Module,
    RefType, TableSection, TableType, TypeSection, ValType,
};

/// `func(kind, index)`: an entry was added.
pub(crate) const INSERT: &str = "insert";
/// `func(index)`: an entry was removed.
pub(crate) const REMOVE: &str = "remove";
/// `func(index) -> kind`: 0 if there is no entry.
pub(crate) const KIND: &str = "kind";
/// `func() -> index`: the highest index that ever had an entry; all ones if entries were lost.
pub(crate) const HIGHEST: &str = "highest";
/// `func(index)`: sets the highest index.
pub(crate) const RAISE: &str = "raise";

/// Writes the instructions of a function.
type Body<'a> = &'a dyn Fn(&mut InstructionSink<'_>);

/// Entries that the table has at first.
const FIRST: u64 = 16;

const ENTRIES: u32 = 0;
const HIGHEST_GLOBAL: u32 = 0;
const RETURNS_KIND: u32 = 2;

/// The module, for so many kinds.
pub(crate) fn module(kinds: u32) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32, ValType::I32], []);
    types.ty().function([ValType::I32], []);
    types.ty().function([], [ValType::I32]);
    types.ty().function([ValType::I32], [ValType::I32]);
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    let mut exports = ExportSection::new();
    let first = 5;
    let insert = |s: &mut InstructionSink<'_>| insert(s, first, kinds);
    let parts: [(&str, u32, Body<'_>); 5] = [
        (INSERT, 0, &insert),
        (REMOVE, 1, &remove),
        (KIND, 3, &kind),
        (HIGHEST, 2, &highest),
        (RAISE, 1, &raise),
    ];
    for (index, (name, ty, body)) in (0..).zip(parts) {
        functions.function(ty);
        let mut function = Function::new([]);
        body(&mut function.instructions());
        function.instructions().end();
        code.function(&function);
        exports.export(name, ExportKind::Func, index);
    }
    for kind in 0..=kinds {
        functions.function(RETURNS_KIND);
        let mut function = Function::new([]);
        function.instructions().i32_const(kind.cast_signed()).end();
        code.function(&function);
    }
    let mut elements = ElementSection::new();
    let returning: Vec<u32> = (first..=first + kinds).collect();
    elements.declared(Elements::Functions(returning.into()));
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&tables())
        .section(&globals())
        .section(&exports)
        .section(&elements)
        .section(&code);
    module
}

/// One table only: more in a module do not fit the pool of instances.
fn tables() -> TableSection {
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: FIRST,
        maximum: None,
        shared: false,
    });
    tables
}

fn globals() -> GlobalSection {
    let mut globals = GlobalSection::new();
    globals.global(
        GlobalType { val_type: ValType::I32, mutable: true, shared: false },
        &ConstExpr::i32_const(0),
    );
    globals
}

fn insert(s: &mut InstructionSink<'_>, first: u32, kinds: u32) {
    s.local_get(1).table_size(ENTRIES).i32_ge_u().if_(BlockType::Empty);
    // Growing by what there is makes the cost of many entries linear.
    s.ref_null(HeapType::FUNC)
        .local_get(1)
        .table_grow(ENTRIES)
        .i32_const(-1)
        .i32_eq()
        .if_(BlockType::Empty);
    s.i32_const(-1).global_set(HIGHEST_GLOBAL).return_();
    s.end().end();
    for kind in 0..=kinds {
        s.local_get(0).i32_const(kind.cast_signed()).i32_eq().if_(BlockType::Empty);
        s.local_get(1).ref_func(first + kind).table_set(ENTRIES).end();
    }
    s.local_get(1).call(4);
}

fn remove(s: &mut InstructionSink<'_>) {
    s.local_get(0).table_size(ENTRIES).i32_lt_u().if_(BlockType::Empty);
    s.local_get(0).ref_null(HeapType::FUNC).table_set(ENTRIES);
    s.end();
}

fn kind(s: &mut InstructionSink<'_>) {
    s.local_get(0)
        .table_size(ENTRIES)
        .i32_ge_u()
        .if_(BlockType::Empty)
        .i32_const(0)
        .return_()
        .end();
    s.local_get(0)
        .table_get(ENTRIES)
        .ref_is_null()
        .if_(BlockType::Empty)
        .i32_const(0)
        .return_()
        .end();
    s.local_get(0).call_indirect(ENTRIES, RETURNS_KIND);
}

fn highest(s: &mut InstructionSink<'_>) {
    s.global_get(HIGHEST_GLOBAL);
}

fn raise(s: &mut InstructionSink<'_>) {
    // All ones, for lost entries, is above every index and stays.
    s.local_get(0)
        .global_get(HIGHEST_GLOBAL)
        .i32_gt_u()
        .if_(BlockType::Empty)
        .local_get(0)
        .global_set(HIGHEST_GLOBAL)
        .end();
}
