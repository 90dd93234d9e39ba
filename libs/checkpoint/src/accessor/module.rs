//! The core module of the accessor.

use crate::GlobalType;
use crate::ledger;
use crate::modules::ANY_MEMORY;
use crate::rewrite::State;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, ImportSection, InstructionSink, MemArg, Module, TypeSection,
    ValType,
};

/// Module that the fillers of the handle table are imported from.
pub(super) const CANONICAL: &str = "canonical";
/// Module that the ledger is imported from.
pub(super) const LEDGER: &str = "ledger";
/// Imports from [`CANONICAL`]: `resource.new` and `resource.drop` of a type that nothing else has.
pub(super) const FILLERS: [&str; 2] = ["fill", "unfill"];

/// Name that the state of an instance is imported by.
pub(super) fn owner_name(instance: u32) -> String {
    format!("i{instance}")
}

/// Types of core functions, by their order in the module.
mod core {
    pub(super) const NONE_I32: u32 = 0;
    pub(super) const I32: u32 = 1;
    pub(super) const I32_I32: u32 = 2;
    pub(super) const TWO: u32 = 3;
    pub(super) const TWO_I32: u32 = 4;
    pub(super) const FOUR_I32: u32 = 5;
    pub(super) const I32_I64: u32 = 6;
    pub(super) const I32_AND_I64: u32 = 7;
}

fn core_types() -> TypeSection {
    use ValType::{I32, I64};
    let all: [(&[ValType], &[ValType]); 8] = [
        (&[], &[I32]),
        (&[I32], &[]),
        (&[I32], &[I32]),
        (&[I32, I32], &[]),
        (&[I32, I32], &[I32]),
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

/// What the module gives access to.
pub(super) struct AccessorModule {
    /// Instance, name.
    memories: Vec<(u32, String)>,
    pub(super) globals: Vec<(u32, String, GlobalType)>,
}

const INSERT: u32 = 0;
const FILL: u32 = 1;
const UNFILL: u32 = 2;
const IMPORTED_FUNCTIONS: u32 = 3;

impl AccessorModule {
    pub(super) fn new(states: &[State]) -> Self {
        let memories = states.iter().flat_map(|state| {
            state.owned.memories.iter().map(|(name, _)| (state.instance, name.clone()))
        });
        let globals = states.iter().flat_map(|state| {
            state.owned.globals.iter().map(|(name, ty)| (state.instance, name.clone(), *ty))
        });
        Self { memories: memories.collect(), globals: globals.collect() }
    }

    pub(super) fn module(&self) -> Module {
        let mut functions = Functions::default();
        self.add_memory_functions(&mut functions);
        self.add_global_functions(&mut functions);
        add_handle_functions(&mut functions);
        let mut module = Module::new();
        module
            .section(&core_types())
            .section(&self.imports())
            .section(&functions.functions)
            .section(&own_globals())
            .section(&functions.exports)
            .section(&functions.code);
        module
    }

    fn imports(&self) -> ImportSection {
        let mut imports = ImportSection::new();
        let [fill, unfill] = FILLERS;
        imports.import(LEDGER, ledger::INSERT, EntityType::Function(core::TWO));
        imports.import(CANONICAL, fill, EntityType::Function(core::I32_I32));
        imports.import(CANONICAL, unfill, EntityType::Function(core::I32));
        for (instance, name) in &self.memories {
            imports.import(&owner_name(*instance), name, EntityType::Memory(ANY_MEMORY));
        }
        for (instance, name, ty) in &self.globals {
            imports.import(
                &owner_name(*instance),
                name,
                EntityType::Global(mutable(val_type(*ty))),
            );
        }
        imports
    }

    /// Index of the first of [`own_globals`].
    fn place(&self) -> u32 {
        u32::try_from(self.globals.len()).unwrap_or(u32::MAX)
    }

    fn add_memory_functions(&self, functions: &mut Functions) {
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
        for n in &numbers {
            functions.add(&format!("read{n}"), core::TWO_I32, |s| self.read(s, *n));
            functions.add(&format!("settle{n}"), core::I32, |s| self.settle(s, *n));
        }
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

    /// Address and length of a list are answered in memory, at its start. What was there is kept
    /// until the answer has been taken, which is before the list itself is looked at.
    fn read(&self, s: &mut InstructionSink<'_>, memory: u32) {
        let kept = self.place() + 1;
        s.i32_const(0).i64_load(at(memory, 0, 3)).global_set(kept);
        s.i32_const(0).local_get(0).i32_store(at(memory, 0, 2));
        s.i32_const(0).local_get(1).i32_store(at(memory, 4, 2));
        s.i32_const(0);
    }

    /// Puts back what [`Self::read`] has kept.
    fn settle(&self, s: &mut InstructionSink<'_>, memory: u32) {
        s.i32_const(0).global_get(self.place() + 1).i64_store(at(memory, 0, 3));
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
}

/// The place of the next write, and what was where an answer is.
fn own_globals() -> GlobalSection {
    let mut globals = GlobalSection::new();
    globals
        .global(mutable(ValType::I32), &ConstExpr::i32_const(0))
        .global(mutable(ValType::I64), &ConstExpr::i64_const(0));
    globals
}

fn add_handle_functions(functions: &mut Functions) {
    functions.add("give", core::TWO_I32, |s| {
        s.local_get(0).local_get(1).call(INSERT).local_get(1);
    });
    functions.add("fill", core::NONE_I32, |s| {
        s.i32_const(0).call(FILL);
    });
    functions.add("unfill", core::I32, |s| {
        s.local_get(0).call(UNFILL);
    });
}

fn at(memory_index: u32, offset: u64, align: u32) -> MemArg {
    MemArg { offset, align, memory_index }
}

fn mutable(val_type: ValType) -> wasm_encoder::GlobalType {
    wasm_encoder::GlobalType { val_type, mutable: true, shared: false }
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

#[derive(Default)]
struct Functions {
    functions: FunctionSection,
    exports: ExportSection,
    code: CodeSection,
    count: u32,
}

impl Functions {
    fn add(&mut self, name: &str, ty: u32, body: impl FnOnce(&mut InstructionSink<'_>)) {
        self.functions.function(ty);
        self.exports.export(name, ExportKind::Func, IMPORTED_FUNCTIONS + self.count);
        self.count += 1;
        let mut function = Function::new([]);
        body(&mut function.instructions());
        function.instructions().end();
        self.code.function(&function);
    }
}
