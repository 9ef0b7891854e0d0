//! Bugs that a test plants in the decision cores, to see that the simulator finds them.
//!
//! Without the feature `planted-bugs`, [`Planted`] is a type of no size that has no bug, so each place
//! that asks for one compiles to nothing. The feature does not compile without debug assertions: no
//! release build can have a bug switched on.

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("bugs may be planted in builds with debug assertions alone, never in a release");

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A bug that can be planted; each breaks one rule of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $($(#[$doc])* $name,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];
        }
    };
}

bugs! {
    /// Answers do not wait for the backup (section 4.3).
    AnswersUngated,
    /// Once a Join is asked, answers do not wait for the spare (R1).
    JoinUngated,
    /// Once a Drop is asked, answers do not wait for the backup: nobody has read yet that it landed (R1).
    DropUngated,
    /// A Join that was asked and given up is not fenced by a Drop before answers flow alone (R1).
    JoinUnfenced,
    /// A spare is joined that lacks entries that were answered without it (section 2, Join).
    SpareUnsynced,
    /// A replica becomes primary that is no holder (section 1.3).
    NonHolderPromoted,
    /// Activate leaves the deposed primary among the holders (section 2, Activate).
    DeposedKept,
    /// A restarted primary goes on in the view that it held (R4).
    ViewResumed,
    /// A backup that has adopted a higher view goes on acknowledging in the lower one (R7).
    LowerViewAcknowledged,
    /// A view is acted on before it is adopted durably (R5).
    ViewUnsynced,
    /// The adopted view is forgotten when the process ends (R5).
    ViewForgotten,
    /// Confirmed reads are answered without being confirmed (section 5).
    ReadsUnconfirmed,
    /// A primary serves before the ViewStart of its view is applied (R3).
    ServesEarly,
    /// A restarted replica still counts as the holder that it was at `memory` (section 2, tokens).
    RestartedPromoted,
    /// A backup whose token has died still lets answers through (section 2, tokens).
    RestartedGates,
    /// A backup that comes back after a clean stop lets answers through under its old token (section 2).
    CleanStopGates,
    /// A command that comes again is executed again (section 9).
    RepeatExecuted,
    /// A cut goes below what is committed (section 8).
    CutTooFar,
    /// A follower acknowledges before an entry is as durable as the level says (section 4.2).
    AcknowledgedEarly,
    /// The holder counts its lease from the reply, not from sending (section 3).
    LeaseFromReply,
    /// The holder's term is 0.92 of the grantor's, which clocks that are off by 5 % break (section 3).
    LeaseTooLong,
    /// Lease reads are answered without a look at the clock (section 5).
    LeaseUnwatched,
    /// The clock is looked at before the input is taken in, and not again before a lease read is answered
    /// (section 5). Planted in the simulator's shell.
    LooksBeforeInput,
    /// The view service deposes right after its own start (sections 3, 11).
    DeposesAtStart,
    /// A timer fires a little early (section 10).
    TimerEarly,
    /// A new view's logged time begins at the wall clock, also if the log is ahead (section 10).
    TimeFalls,
    /// A candidate does not sync its log before it asks Activate (section 4.7).
    ActivateUnsynced,
    /// A primary does not sync its log before it asks Drop (section 4.7).
    DropUnsynced,
    /// A lone primary answers at `memory` and `os` without its disk (section 4.7).
    LoneCopyUnsynced,
    /// A primary that hears nothing, not even from the view service, drops its backup (L1).
    DeafDrops,
    /// While a Join is under way a lone primary goes on without its lease (section 3).
    JoinUnleased,
    /// A store that came back with less than it had counts as fit (section 7).
    OldCopyPromoted,
    /// A follower applies what it has, before the primary does (section 4.5).
    AppliedEarly,
    /// The data epoch is forgotten: a replica goes on with a log that a forced takeover has put an end to
    /// (section 7).
    EpochForgotten,
    /// A backup that acknowledges nothing is dropped only after ten terms (section 6).
    SilentKept,
    /// A backup that the view service does not see is not dropped (section 6).
    UnseenKept,
    /// Commands of sessions that were opened in an earlier view are refused (L2).
    OldSessionRefused,
    /// A disk failure is neither noted nor told to the view service (section 12).
    DiskFailureUnnoted,
    /// The view service does not keep that a token is dead (section 12).
    DeadTokenForgotten,
    /// The log is forgotten under a follower that needs it, and the primary goes on sending from it (section 8).
    ForgottenUnderFollower,
    /// More of the log is forgotten than the snapshots that are kept cover (section 8).
    ForgottenBeyondSnapshot,
    /// A follower cuts its log below the snapshot that it goes on from (section 8).
    CutBelowSnapshot,
    /// A spare is joined that is still fetching the snapshot (section 8).
    JoinedWhileFetching,
    /// The replies of a follower are not compared with the primary's (section 12).
    RepliesUncompared,
    /// The state digests of a follower are not compared with the primary's (section 12).
    StatesUncompared,
    /// The proof of a death is sent though the process lives and is only not heard (section 3). Planted in the
    /// simulator's shell.
    DeathUnproven,
    /// The proof of a death is taken for the present life, whichever life it was that died (section 3).
    DeathMistaken,
    /// Whoever was handed a view answers without the backup that it was handed with (section 6).
    HandOverUngated,
    /// A primary that has asked to hand over keeps its lease (section 3).
    HandOverLeased,
    /// A primary asks to hand over before its backup has the Handover entry (section 6).
    HandsOverUndrained,
    /// Replicas do not read which entries are skipped before they apply them (section 12).
    SkipsUnread,
    /// A new primary does not list in its ViewStart what it skips (section 12).
    SkipUnlisted,
    /// What the next primary must skip is not told to it (section 12).
    SkipForgotten,
    /// A timer at which the machine fails is not skipped, though commands are (section 12).
    TimerUnskipped,
    /// Entries are taken for what is missing in a damaged log though what stands behind does not go on after
    /// them (section 12).
    UnfitTaken,
    /// A replica whose log is damaged may be made primary, as if it were not (sections 7, 12).
    DamagedPromoted,
    /// A replica sets its damaged log aside and joins anew though it is a holder (sections 7, 12).
    HolderSetAside,
    /// A spare is joined whose log has no room (section 12).
    RoomlessJoined,
    /// A primary whose log has no room hands over to a backup that has none either (section 12).
    RoomlessHandedTo,
    /// A primary whose log has no room does not notice that there is some again (section 12).
    RoomUnnoticed,
    /// A lost record is made again though a replica that may have gone on is not heard (section 11).
    RebuiltUnheard,
    /// A lost record is made again with the number of a view that there may have been (section 2, section 11).
    RebuiltViewReused,
    /// A lost record is made again by the longest log, whoever has it (section 11).
    RebuiltByLog,
    /// A replica whose token has died counts as holder when a lost record is made again (section 11).
    RebuiltDeadToken,
    /// The record of the adopted view is not kept by replicas (section 11).
    RecordUnkept,
    /// An entry is skipped after one death at it (section 12).
    OneDeathSkips,
    /// An entry at which a replica died is skipped without asking who else has served since it was ordered
    /// (section 12).
    SuspectsIgnored,
    /// As much is admitted while a backup is far behind as otherwise (section 12).
    SlowAdmitted,
    /// A backup that is far behind all the time stays, as long as it is not silent (section 6).
    SlowKept,
    /// A backup that speaks counts as one that says nothing, for which more is admitted (section 12).
    SpeakerUnheard,
    /// A backup is dropped as too slow though it only takes as long as any takes (section 6).
    QuickDropped,
    /// Redis clients are sent to a primary of an earlier view until the next one has said where it answers.
    RedirectOld,
    /// The newest version of the machine that a program supports is executed, and not the one in force (section 12).
    NewestExecuted,
    /// A snapshot records another chain over all replies than the state has: a replay comes to what it was (section 12).
    ChainMisrecorded,
    /// Each client whose command is part of a run is answered with the reply to the first of them (section 9).
    RunMisanswered,
}

/// The bug that is planted here, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planted {
    #[cfg(feature = "planted-bugs")]
    bug: Option<Bug>,
}

impl Planted {
    /// Whether this build can have a bug planted: one for tests.
    pub const IS_POSSIBLE: bool = cfg!(feature = "planted-bugs");

    /// No bug.
    pub const NONE: Self = Self {
        #[cfg(feature = "planted-bugs")]
        bug: None,
    };
}

#[cfg(feature = "planted-bugs")]
impl Planted {
    /// Plants a bug.
    #[must_use]
    pub const fn new(bug: Bug) -> Self {
        Self { bug: Some(bug) }
    }

    /// Whether this bug is planted.
    #[must_use]
    pub fn has(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

#[cfg(not(feature = "planted-bugs"))]
impl Planted {
    /// Whether this bug is planted: never.
    #[must_use]
    pub const fn has(self, _bug: Bug) -> bool {
        false
    }
}
