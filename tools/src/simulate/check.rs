//! The properties that must hold at every step, each in a file of its own (`protocol.md` section 13).
//!
//! A checker sees the facts of a run one by one, before they are taken into the [`Truth`], and says
//! what is wrong. It knows nothing of how the system works inside.

mod c1;
mod c2;
pub(crate) mod l1;
pub(crate) mod l2;
pub(crate) mod l3;
pub(crate) mod l4;
pub(crate) mod l5;
mod redirects;
pub(crate) mod replay;
mod s1;
mod s10;
mod s11;
mod s12;
mod s13;
mod s14;
mod s15;
mod s16;
mod s17;
pub(crate) mod s18;
mod s2;
mod s3;
mod s4;
mod s5;
mod s6;
mod s7;
mod s8;
mod s9;

use std::fmt;

use standin_core::entry::Index;
use standin_core::view::ViewRecord;

use super::fact::Fact;
use super::marks::Mark;
use super::plan::Plan;
use super::property;
use super::reference::Reference;
use super::truth::Truth;
use super::watched::Subject;

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name in the protocol, such as S4.
    pub property: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.property, self.demands(), self.what)
    }
}

impl Violation {
    /// What the property demands, in words.
    #[must_use]
    pub fn demands(&self) -> &'static str {
        property::words(self.property)
    }
}

/// What a checker comes to.
pub(crate) type Verdict = Result<(), String>;

/// A property, watched.
pub(crate) trait Check {
    /// Its name in the protocol.
    const PROPERTY: &'static str;

    /// Looks at a fact that is not in `truth` yet.
    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict;
}

/// All properties of a run that are watched at every step.
#[derive(Debug)]
pub(crate) struct Checks<M> {
    pub(crate) truth: Truth,
    pub(crate) reference: Reference<M>,
    parts: Parts,
    pub(crate) violation: Option<Violation>,
    /// A disk that has less than it had has come to be primary where no rule could keep it out, by this
    /// known limit: what follows proves nothing.
    pub(crate) beyond_help: Option<Mark>,
}

macro_rules! parts {
    ($($name:ident: $type:ty,)*) => {
        #[derive(Debug)]
        struct Parts {
            $($name: $type,)*
        }

        impl Parts {
            fn new(plan: &Plan) -> Self {
                Self {
                    $($name: <$type>::new(plan),)*
                }
            }

            fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Result<(), Violation> {
                $(self.$name.look(truth, fact).map_err(|what| Violation {
                    property: <$type as Check>::PROPERTY,
                    what,
                })?;)*
                Ok(())
            }
        }
    };
}

parts! {
    s1: s1::Views,
    s2: s2::Makers,
    s3: s3::Matching,
    s4: s4::Holding,
    s5: s5::Inheriting,
    s6: s6::Answers,
    s7: s7::Adopting,
    s8: s8::Commits,
    s9: s9::Cuts,
    s11: s11::Repeats,
    s12: s12::RealTime,
    s13: s13::Speaking,
    s14: s14::Promoting,
    s15: s15::Gating,
    s16: s16::Time,
    s17: s17::Sound,
    s18: s18::Quarantines,
    c1: c1::Leases,
    c2: c2::LeaseReads,
    redirects: redirects::Redirects,
    replay: replay::Told,
}

impl<M: Subject> Checks<M> {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            truth: Truth::new(plan.replicas),
            reference: Reference::default(),
            parts: Parts::new(plan),
            violation: None,
            beyond_help: None,
        }
    }

    /// An operator forces a takeover by which `after` comes to be the record: what the named replica does
    /// not have on its disk is no longer demanded of anybody. Up to where the log that was answered from
    /// goes on.
    pub(crate) fn accept_loss(&mut self, after: &ViewRecord) -> Index {
        let kept = self.truth.accept_loss(after);
        self.reference.rewind(&self.truth, after);
        kept
    }

    /// Looks at a fact, and takes it into the truth.
    pub(crate) fn saw(&mut self, fact: &Fact<'_>) {
        if let Fact::Recorded { after, .. } = fact {
            self.beyond_help = self.beyond_help.or(self.truth.is_beyond_help(after));
        }
        if self.violation.is_some() || self.beyond_help.is_some() {
            return;
        }
        let looked = self
            .parts
            .look(&self.truth, fact)
            .and_then(|()| s10::look(&mut self.reference, &self.truth, fact));
        self.violation = looked.err();
        if let Fact::Applied { host, through, .. } = fact {
            // The reference is one of the present data epoch; in the ones before, only wrong replies differ.
            let has_erred = if self.truth.is_of_data_epoch(*host) {
                s10::differs(&self.reference, fact)
            } else {
                self.truth.is_wrong(*host, *through)
            };
            let identity = self.truth.replicas[*host].identity.as_ref();
            let store = identity.map(|identity| identity.store);
            self.truth.erred.extend(store.filter(|_| has_erred));
        }
        self.truth.note(fact);
    }

    /// What replays of logs are to be held against.
    pub(crate) fn evidence(&self) -> replay::Evidence<'_, M> {
        replay::Evidence::new(&self.truth, &self.parts.replay, &self.reference)
    }

    /// A property that somebody else has watched did not hold.
    pub(crate) fn fail(&mut self, property: &'static str, what: String) {
        self.violation.get_or_insert(Violation { property, what });
    }
}
