//! Which canonical functions are wrapped, and the wrappers among the sections of the component.

use crate::abi::{Counted, Find, Finder, MAX_FLAT_PARAMS};
use crate::reencode::{memory_option, new_index, number};
use crate::rewrite::{LEDGER_INSTANCE, Next, Rewriter};
use crate::wrap::{self, Change, Note, Place, Wrap};
use crate::{Refusal, uses};
use std::collections::HashMap;
use wasm_encoder::{
    Alias, ComponentAliasSection, ExportKind, InstanceSection, ModuleArg, ModuleSection, ValType,
};
use wasmparser::CanonicalFunction;
use wasmparser::component_types::ComponentFuncType;

impl Rewriter<'_> {
    fn finder(&self, counted: Counted) -> Finder<'_> {
        Finder {
            types: self.types,
            kinds: &self.resources.kinds,
            own: &self.resources.own,
            counted,
        }
    }

    /// The function that was just lowered: what is given away is removed, what is got is inserted.
    pub(crate) fn wrap_lowered(
        &mut self,
        ty: &ComponentFuncType,
        memory: Option<u32>,
    ) -> Result<(), Refusal> {
        let old = u32::try_from(self.funcs.len()).unwrap_or(u32::MAX);
        let (params, results) = self.core_type(old)?;
        let finder = self.finder(Counted::Own);
        let before = params_note(&finder, ty, Change::Remove)?;
        let after = match ty.result {
            None => None,
            Some(result) if finder.flat_count(result)? <= 1 => {
                Some((Place::Result, finder.in_flat(result, 0)?))
            }
            Some(result) => {
                let pointer = u32::try_from(params.len()).unwrap_or(0).saturating_sub(1);
                Some((Place::AtParam(pointer), finder.in_memory(result, 0)?))
            }
        };
        let after = after.map(|(place, find)| Note { change: Change::Insert, place, find });
        self.define(params, results, memory, before, after);
        Ok(())
    }

    /// `resource.new` or `resource.drop`.
    pub(crate) fn wrap_builtin(&mut self, resource: u32, change: Change) {
        let kind = self.resources.kind_of_type(self.types, resource);
        let find = kind.map(|kind| Find::Handle { kind, at: 0 }).into_iter().collect();
        let note = |place| Some(Note { change, place, find });
        match change {
            Change::Insert => {
                self.define(vec![ValType::I32], vec![ValType::I32], None, None, note(Place::Result))
            }
            Change::Remove => {
                self.define(vec![ValType::I32], vec![], None, note(Place::Params), None)
            }
        }
    }

    /// A new core function; with something to note, a wrapper takes its place.
    fn define(
        &mut self,
        params: Vec<ValType>,
        results: Vec<ValType>,
        memory: Option<u32>,
        before: Option<Note>,
        after: Option<Note>,
    ) {
        let func = Next::take(&mut self.next.func);
        let some = |note: Option<Note>| {
            note.into_iter().filter(|note| !note.find.is_empty()).collect::<Vec<_>>()
        };
        let (before, after) = (some(before), some(after));
        if !before.is_empty() || !after.is_empty() {
            let old = u32::try_from(self.funcs.len()).unwrap_or(u32::MAX);
            self.pending.push((old, Wrap { func, params, results, memory, before, after }));
        }
        self.funcs.push(func);
    }

    /// Wraps exported functions that are passed or return handles; gives their new indexes by the
    /// place of their lifting.
    #[allow(clippy::indexing_slicing, reason = "the identifiers are of these types")]
    pub(crate) fn wrap_lifts(
        &mut self,
        functions: &[CanonicalFunction],
    ) -> Result<HashMap<usize, u32>, Refusal> {
        let mut wraps = Vec::new();
        for (n, function) in functions.iter().enumerate() {
            let CanonicalFunction::Lift { core_func_index, type_index, options } = function else {
                continue;
            };
            let ty = &self.types[self.types.component_any_type_at(*type_index).unwrap_func()];
            if ty.async_ {
                return uses("asynchronous functions of the component model");
            }
            let (params, results) = self.core_type(*core_func_index)?;
            let finder = self.finder(Counted::OwnAndForeignBorrow);
            let before = params_note(&finder, ty, Change::Insert)?;
            let after = match ty.result {
                None => None,
                Some(result) if finder.flat_count(result)? <= 1 => {
                    Some((Place::Result, finder.in_flat(result, 0)?))
                }
                Some(result) => Some((Place::AtResult, finder.in_memory(result, 0)?)),
            };
            let after = after.map(|(place, find)| Note { change: Change::Remove, place, find });
            let some = |note: Option<Note>| {
                note.into_iter().filter(|note| !note.find.is_empty()).collect::<Vec<_>>()
            };
            let (before, after) = (some(before), some(after));
            if !before.is_empty() || !after.is_empty() {
                let func = new_index(&self.funcs, *core_func_index)?;
                wraps.push((
                    n,
                    Wrap { func, params, results, memory: memory_option(options), before, after },
                ));
            }
        }
        self.flush();
        let (places, wraps): (Vec<usize>, Vec<Wrap>) = wraps.into_iter().unzip();
        let first = self.add_wrappers(&wraps);
        Ok(places.into_iter().zip(first..).collect())
    }

    #[allow(clippy::indexing_slicing, reason = "the identifiers are of these types")]
    fn core_type(&self, old: u32) -> Result<(Vec<ValType>, Vec<ValType>), Refusal> {
        let ty = self.types[self.types.core_function_at(old)].unwrap_func();
        let all = |types: &[wasmparser::ValType]| {
            types.iter().map(|ty| number(*ty)).collect::<Result<Vec<_>, _>>()
        };
        Ok((all(ty.params())?, all(ty.results())?))
    }

    /// Makes the wrappers that were put off; from here on they stand for the functions.
    pub(crate) fn flush(&mut self) {
        let (old, wraps): (Vec<u32>, Vec<Wrap>) =
            std::mem::take(&mut self.pending).into_iter().unzip();
        let first = self.add_wrappers(&wraps);
        for (old, new) in old.into_iter().zip(first..) {
            if let Some(index) = usize::try_from(old).ok().and_then(|old| self.funcs.get_mut(old)) {
                *index = new;
            }
        }
    }

    /// Adds a module with wrappers and gives the index of the first of them.
    fn add_wrappers(&mut self, wraps: &[Wrap]) -> u32 {
        let first = self.next.func;
        if wraps.is_empty() {
            return first;
        }
        self.out.section(&ModuleSection(&wrap::module(wraps)));
        let module = Next::take(&mut self.next.module);
        let memories = wrap::memories(wraps)
            .into_iter()
            .map(|memory| (wrap::memory_name(memory), ExportKind::Memory, memory));
        let funcs = wraps
            .iter()
            .enumerate()
            .map(|(n, wrap)| (wrap::func_name(n), ExportKind::Func, wrap.func));
        let items: Vec<(String, ExportKind, u32)> = memories.chain(funcs).collect();
        let mut instances = InstanceSection::new();
        instances
            .export_items(items.iter().map(|(name, kind, index)| (name.as_str(), *kind, *index)));
        let wrapped = Next::take(&mut self.next.instance);
        let args = [
            (wrap::LEDGER, ModuleArg::Instance(LEDGER_INSTANCE)),
            (wrap::WRAPPED, ModuleArg::Instance(wrapped)),
        ];
        instances.instantiate(module, args);
        let instance = Next::take(&mut self.next.instance);
        self.out.section(&instances);
        let mut aliases = ComponentAliasSection::new();
        for n in 0..wraps.len() {
            aliases.alias(Alias::CoreInstanceExport {
                instance,
                kind: ExportKind::Func,
                name: &wrap::func_name(n),
            });
            self.next.func += 1;
        }
        self.out.section(&aliases);
        first
    }
}

fn params_note(
    finder: &Finder<'_>,
    ty: &ComponentFuncType,
    change: Change,
) -> Result<Option<Note>, Refusal> {
    let params: Vec<_> = ty.params.iter().map(|(_, ty)| *ty).collect();
    let note = match finder.flat_counts(&params)? > MAX_FLAT_PARAMS {
        true => {
            Note { change, place: Place::AtParam(0), find: finder.fields_in_memory(&params, 0)? }
        }
        false => Note { change, place: Place::Params, find: finder.fields_in_flat(&params, 0)? },
    };
    Ok(Some(note))
}
