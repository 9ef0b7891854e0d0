//! S2: entries of a view are created by one replica; ViewStart is its first.

use std::collections::BTreeMap;

use standin_core::entry::EntryKind;
use standin_core::view::ViewNumber;

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// Who creates the entries of each view.
#[derive(Debug)]
pub(crate) struct Makers {
    makers: BTreeMap<ViewNumber, usize>,
}

impl Makers {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self {
            makers: BTreeMap::new(),
        }
    }
}

impl Check for Makers {
    const PROPERTY: &'static str = "S2";

    fn look(&mut self, _truth: &Truth, fact: &Fact<'_>) -> Verdict {
        let Fact::Appended {
            host,
            batch,
            is_primary: true,
        } = fact
        else {
            return Ok(());
        };
        for entry in batch.entries() {
            let (view, kind) = (entry.header.view, entry.header.kind);
            match self.makers.get(&view) {
                None if kind != EntryKind::ViewStart => {
                    return Err(format!("view {view} begins with a {kind:?}"));
                }
                None => _ = self.makers.insert(view, *host),
                Some(maker) if maker != host => {
                    return Err(format!(
                        "hosts {maker} and {host} made entries of view {view}"
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
