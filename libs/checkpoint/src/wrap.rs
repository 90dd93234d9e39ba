//! Wrappers around canonical functions, which tell the ledger of every entry that the function
//! adds to the handle table or takes from it.

use crate::abi::Find;
use crate::ledger;
use crate::modules::ANY_MEMORY;
use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, InstructionSink, MemArg, Module, TypeSection, ValType,
};

/// What happens to the entries that are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Insert,
    Remove,
}

/// Where the value is that is looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the parameters.
    Params,
    /// In memory, at the address in this parameter.
    AtParam(u32),
    /// It is the result.
    Result,
    /// In memory, at the address that is the result.
    AtResult,
}

/// A change to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) change: Change,
    pub(crate) place: Place,
    pub(crate) find: Vec<Find>,
}

/// A function to be wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrap {
    /// Its index among the core functions of the component.
    pub(crate) func: u32,
    pub(crate) params: Vec<ValType>,
    pub(crate) results: Vec<ValType>,
    /// Index of the memory that its arguments and results are in.
    pub(crate) memory: Option<u32>,
    /// Told before the call.
    pub(crate) before: Vec<Note>,
    /// Told after it.
    pub(crate) after: Vec<Note>,
}

/// Name of the wrapped function, and of its wrapper.
pub(crate) fn func_name(n: usize) -> String {
    format!("f{n}")
}

/// Name of a memory.
pub(crate) fn memory_name(memory: u32) -> String {
    format!("m{memory}")
}

/// Module that the functions, memories and the ledger are imported from.
pub(crate) const WRAPPED: &str = "wrapped";
/// Name of the instance of the ledger.
pub(crate) const LEDGER: &str = "ledger";

const INSERT: u32 = 0;
const REMOVE: u32 = 1;
const FIRST_WRAPPED: u32 = 2;

/// The memories that the wrappers look into, in the order of their indexes in the module.
pub(crate) fn memories(wraps: &[Wrap]) -> Vec<u32> {
    let mut memories: Vec<u32> = wraps.iter().filter_map(|wrap| wrap.memory).collect();
    memories.sort_unstable();
    memories.dedup();
    memories
}

/// The module with a wrapper for each function.
pub(crate) fn module(wraps: &[Wrap]) -> Module {
    let memories = memories(wraps);
    let (mut types, mut imports, mut functions) =
        (TypeSection::new(), ImportSection::new(), FunctionSection::new());
    let (mut exports, mut code) = (ExportSection::new(), CodeSection::new());
    types.ty().function([ValType::I32, ValType::I32], []);
    types.ty().function([ValType::I32], []);
    imports.import(LEDGER, ledger::INSERT, EntityType::Function(0));
    imports.import(LEDGER, ledger::REMOVE, EntityType::Function(1));
    for memory in &memories {
        imports.import(WRAPPED, &memory_name(*memory), EntityType::Memory(ANY_MEMORY));
    }
    let count = u32::try_from(wraps.len()).unwrap_or(u32::MAX);
    for (n, (index, wrap)) in (0u32..).zip(wraps).enumerate() {
        types.ty().function(wrap.params.iter().copied(), wrap.results.iter().copied());
        imports.import(WRAPPED, &func_name(n), EntityType::Function(index + 2));
        functions.function(index + 2);
        exports.export(&func_name(n), ExportKind::Func, FIRST_WRAPPED + count + index);
        let memory = wrap
            .memory
            .and_then(|m| memories.iter().position(|x| *x == m))
            .and_then(|m| u32::try_from(m).ok());
        code.function(&Writer::new(wrap, memory.unwrap_or(0)).write(FIRST_WRAPPED + index));
    }
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&code);
    module
}

/// Writes one wrapper.
struct Writer<'a> {
    wrap: &'a Wrap,
    memory: u32,
    /// Local of the result.
    result: u32,
    /// First of the locals for walking lists, two for each level.
    lists: u32,
}

/// Where a value starts.
#[derive(Clone, Copy)]
enum From {
    /// In the local `first + at`.
    Locals { first: u32 },
    /// In memory, `at` bytes after the address in a local.
    Memory { base: u32 },
}

impl<'a> Writer<'a> {
    fn new(wrap: &'a Wrap, memory: u32) -> Self {
        let count = |types: &[ValType]| u32::try_from(types.len()).unwrap_or(u32::MAX);
        let result = count(&wrap.params);
        Self { wrap, memory, result, lists: result + count(&wrap.results) }
    }

    fn write(&self, wrapped: u32) -> Function {
        let notes = || self.wrap.before.iter().chain(&self.wrap.after);
        let levels = notes().map(|note| levels(&note.find)).max().unwrap_or(0);
        let results = self.wrap.results.iter().map(|ty| (1, *ty));
        let locals: Vec<(u32, ValType)> =
            results.chain((levels > 0).then_some((2 * levels, ValType::I32))).collect();
        let mut function = Function::new(locals);
        let mut s = function.instructions();
        self.wrap.before.iter().for_each(|note| self.note(&mut s, note));
        for (param, _) in (0..).zip(&self.wrap.params) {
            s.local_get(param);
        }
        s.call(wrapped);
        if !self.wrap.results.is_empty() {
            s.local_set(self.result);
        }
        self.wrap.after.iter().for_each(|note| self.note(&mut s, note));
        if !self.wrap.results.is_empty() {
            s.local_get(self.result);
        }
        s.end();
        function
    }

    fn note(&self, s: &mut InstructionSink<'_>, note: &Note) {
        let from = match note.place {
            Place::Params => From::Locals { first: 0 },
            Place::AtParam(param) => From::Memory { base: param },
            Place::Result => From::Locals { first: self.result },
            Place::AtResult => From::Memory { base: self.result },
        };
        note.find.iter().for_each(|find| self.find(s, find, from, note.change, 0));
    }

    fn find(
        &self,
        s: &mut InstructionSink<'_>,
        find: &Find,
        from: From,
        change: Change,
        level: u32,
    ) {
        match find {
            Find::Handle { kind, at } => {
                if change == Change::Insert {
                    s.i32_const(kind.cast_signed());
                }
                self.load(s, from, *at, 4);
                s.call(if change == Change::Insert { INSERT } else { REMOVE });
            }
            Find::Case { at, tag_size, case, then } => {
                self.load(s, from, *at, *tag_size);
                s.i32_const(case.cast_signed()).i32_eq().if_(BlockType::Empty);
                then.iter().for_each(|find| self.find(s, find, from, change, level));
                s.end();
            }
            Find::Each { at, stride, then } => {
                self.each(s, (*at, *stride, then), from, change, level)
            }
        }
    }

    fn each(
        &self,
        s: &mut InstructionSink<'_>,
        (at, stride, then): (u32, u32, &[Find]),
        from: From,
        change: Change,
        level: u32,
    ) {
        let (pointer, left) = (self.lists + 2 * level, self.lists + 2 * level + 1);
        let length = match from {
            From::Locals { .. } => at + 1,
            From::Memory { .. } => at + 4,
        };
        self.load(s, from, at, 4);
        s.local_set(pointer);
        self.load(s, from, length, 4);
        s.local_set(left);
        s.block(BlockType::Empty).loop_(BlockType::Empty);
        s.local_get(left).i32_eqz().br_if(1);
        then.iter()
            .for_each(|find| self.find(s, find, From::Memory { base: pointer }, change, level + 1));
        s.local_get(pointer).i32_const(stride.cast_signed()).i32_add().local_set(pointer);
        s.local_get(left).i32_const(1).i32_sub().local_set(left);
        s.br(0).end().end();
    }

    /// Pushes the 32 bit number at a place.
    fn load(&self, s: &mut InstructionSink<'_>, from: From, at: u32, size: u32) {
        match from {
            From::Locals { first } => {
                s.local_get(first + at);
                // A variant whose cases differ is passed in the wider type.
                if self.local_type(first + at) == Some(ValType::I64) {
                    s.i32_wrap_i64();
                }
            }
            From::Memory { base } => {
                s.local_get(base);
                let arg =
                    |align| MemArg { offset: u64::from(at), align, memory_index: self.memory };
                match size {
                    1 => s.i32_load8_u(arg(0)),
                    2 => s.i32_load16_u(arg(1)),
                    _ => s.i32_load(arg(2)),
                };
            }
        }
    }

    fn local_type(&self, local: u32) -> Option<ValType> {
        let at = usize::try_from(local).ok()?;
        self.wrap.params.iter().chain(&self.wrap.results).nth(at).copied()
    }
}

/// How deep lists are nested.
fn levels(find: &[Find]) -> u32 {
    let level = |find: &Find| match find {
        Find::Handle { .. } => 0,
        Find::Case { then, .. } => levels(then),
        Find::Each { then, .. } => levels(then) + 1,
    };
    find.iter().map(level).max().unwrap_or(0)
}
