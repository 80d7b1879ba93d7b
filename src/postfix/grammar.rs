//! What is known of the names and values of Postfix's settings before they are read.

use super::Configuration;
use super::drop_ins;
use super::master_settings;
use super::parameters::{self, Parameters};
use super::peers;
use super::settings::Settings;
use super::variables::{self, MAIN_CF_D, MASTER, MASTER_CF_D, PARAMETER};
use crate::daemon::{Configured, Grammar};
use crate::report::Mistake;
use crate::settings::table::Variable;
use crate::settings::{DropIn, Knowledge, Line, Names, Reader};

/// What the installed Postfix knows.
#[derive(Debug, Default)]
pub struct Known(pub Parameters);

impl Names for Known {
    fn prefixes(&self) -> &'static [&'static str] {
        &[PARAMETER, MASTER]
    }

    fn knows(&self, prefix: &str, rest: &str) -> Knowledge {
        let is_known = match prefix {
            MASTER => master_settings::is_known(rest, &self.0),
            _ => self.0.find(rest).is_some(),
        };
        if is_known { Knowledge::Yes } else { Knowledge::No }
    }

    fn meant_by(&self, rest: &str) -> Option<String> {
        let in_table = || {
            let mut names = variables::of_main_cf().map(|variable| variable.name);
            names.find(|name| name.strip_prefix(PARAMETER) == Some(rest))
        };
        let in_main_cf = || {
            let parameter = self.0.find(rest)?;
            parameters::may_be_set(parameter).then(|| format!("{PARAMETER}{rest}"))
        };
        let known = peers::ours(rest).or_else(in_table).map(str::to_owned);
        known.or_else(in_main_cf)
    }

    fn drop_in_directories(&self) -> &'static [&'static str] {
        &[MAIN_CF_D, MASTER_CF_D]
    }

    fn lines(&self, directory: &str, file: &DropIn) -> Vec<Result<Line, Mistake>> {
        if directory == MAIN_CF_D {
            drop_ins::main_cf(file)
        } else {
            Vec::new()
        }
    }
}

impl Grammar for Known {
    fn check(&self, variable: &Variable, canonical: &str) -> Result<(), String> {
        match variables::parameter_of(variable) {
            Some(parameter) => self.0.check_canonical(parameter, canonical),
            None => Ok(()),
        }
    }

    fn read(self: Box<Self>, reader: &mut Reader) -> Box<dyn Configured> {
        Box::new(Configuration::new(Settings::read(self.0, reader)))
    }
}
