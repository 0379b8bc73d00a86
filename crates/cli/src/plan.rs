//! What one run does, in the form in which code that Lua's errors may jump over can use it.
//!
//! A Lua error is a `longjmp`: the frames between the error and the protected call vanish without running destructors. So
//! everything that owns memory (the strings made from the command line) lives in [`Plan`], in a frame *outside* the
//! protected call, and the interpreter inside it reads a [`View`]: pointers and integers, free to be forgotten.

use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;

use crate::args::{Program, RunOptions};
use crate::arguments::Arguments;
use crate::compat;

/// One of the options that act before the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `-e`: run this code.
    Execute(CString),
    /// `-l`: require this module, and keep it in this global variable.
    Library {
        /// What `require` gets.
        module: CString,
        /// The variable's name, on versions that set one.
        global: Option<CString>,
    },
    /// `-W`: turn warnings on.
    Warnings,
}

impl Step {
    /// `-e CODE`.
    pub fn execute(code: OsString) -> Step {
        Step::Execute(c_string(code.into_vec()))
    }

    /// `-l MODULE`, which the versions of Lua read differently.
    pub fn library(name: OsString) -> Step {
        let (module, global) = compat::library_names(name.into_vec());
        Step::Library {
            module: c_string(module),
            global: global.map(c_string),
        }
    }
}

/// A C string from a part of an argument of the process.
fn c_string(bytes: Vec<u8>) -> CString {
    CString::new(bytes)
        .expect("an argument of the process is a C string, so it has no zero byte inside")
}

/// A run, as asked for on the command line; owns what a [`View`] points to.
#[derive(Debug)]
pub struct Plan {
    view: View,
    /// The steps of `view` point into the strings here, which are never touched again.
    _steps: Vec<Step>,
    _step_views: Vec<StepView>,
}

impl Plan {
    /// Prepares what `options` ask for. The arguments become Lua's table `arg`.
    pub fn new(arguments: Arguments, options: &RunOptions) -> Plan {
        let steps = options.steps.clone();
        let step_views: Vec<StepView> = steps.iter().map(StepView::of).collect();
        let script = match options.program {
            Program::Nothing => Script::None,
            Program::PipedInput => Script::PipedInput,
            Program::Stdin(index) => Script::Given {
                index,
                file: std::ptr::null(),
            },
            Program::File(index) => Script::Given {
                index,
                file: arguments.get(index),
            },
        };
        let view = View {
            arguments,
            ignore_environment: options.ignore_environment,
            guard_stdlib: !options.no_guard_stdlib,
            steps: step_views.as_ptr(),
            step_count: step_views.len(),
            script,
        };
        Plan {
            view,
            _steps: steps,
            _step_views: step_views,
        }
    }

    /// The plan for code inside the protected call. Points into `self`.
    pub fn view(&self) -> &View {
        &self.view
    }
}

/// A [`Plan`] without ownership.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The arguments of the process.
    pub arguments: Arguments,
    /// `-E`.
    pub ignore_environment: bool,
    /// Not `--no-guard-stdlib`.
    pub guard_stdlib: bool,
    /// The first of the steps.
    pub steps: *const StepView,
    /// How many steps there are.
    pub step_count: usize,
    /// What runs after them.
    pub script: Script,
}

/// A [`Step`] without ownership.
#[derive(Clone, Copy, Debug)]
pub enum StepView {
    /// `-e`.
    Execute(*const c_char),
    /// `-l`: the module and the global variable or null.
    Library(*const c_char, *const c_char),
    /// `-W`.
    Warnings,
}

impl StepView {
    fn of(step: &Step) -> StepView {
        match step {
            Step::Execute(code) => StepView::Execute(code.as_ptr()),
            Step::Library { module, global } => StepView::Library(
                module.as_ptr(),
                global.as_deref().map_or(std::ptr::null(), CStr::as_ptr),
            ),
            Step::Warnings => StepView::Warnings,
        }
    }
}

/// The script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// None: only the steps run.
    None,
    /// Standard input, which nobody named.
    PipedInput,
    /// A script named on the command line.
    Given {
        /// Its index among the arguments.
        index: c_int,
        /// The file's name; null is standard input.
        file: *const c_char,
    },
}
