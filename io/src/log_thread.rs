//! The log thread: does for the log what waits for the disk.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use standin_core::entry::Index;
use standin_core::time::Duration;

use crate::desk::Desk;
use crate::log::{LogError, PrepareRequest, PreparedSegment, SegmentLog, SyncRequest};

/// How long after there was no room for the next segment that is tried again.
pub const ROOM_RETRY: Duration = Duration::from_millis(500);

/// Something that the log thread has done.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogDone {
    /// Everything up to this entry is on disk.
    Synced {
        /// The last entry that is.
        through: Index,
    },
    /// The next segment file is ready: hand it to [`SegmentLog::take_prepared`].
    Prepared {
        /// The file.
        segment: PreparedSegment,
    },
    /// There is no room for the next segment file: hand it to [`SegmentLog::lack_room`], and have it tried again
    /// ([`SegmentLog::retry_room`]) after [`ROOM_RETRY`]. The log goes on until the segment in use is full.
    NoRoom {
        /// What went wrong.
        error: LogError,
    },
}

/// What waits for the thread, and what waits to be polled. Requests merge and there is one of each
/// kind at most, so nothing here grows.
#[derive(Debug, Default)]
struct Tasks {
    sync: Option<SyncRequest>,
    prepare: Option<PrepareRequest>,
    synced: Option<SyncRequest>,
    prepared: Option<Result<PreparedSegment, LogError>>,
    failure: Option<LogError>,
    /// A sync has failed: whatever comes is refused.
    has_failed: bool,
    is_stopping: bool,
}

/// The thread that syncs segment files and prepares new ones. Dropping this waits for the sync that
/// is under way and lets go of what has not begun.
pub struct LogThread {
    desk: Arc<Desk<Tasks>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for LogThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogThread").finish_non_exhaustive()
    }
}

impl LogThread {
    /// Starts the thread. It calls `waker` whenever there is something to [`LogThread::poll`].
    ///
    /// # Panics
    /// If the system cannot start a thread.
    #[must_use]
    pub fn start(waker: impl Fn() + Send + 'static) -> Self {
        let desk = Arc::new(Desk::default());
        let theirs = Arc::clone(&desk);
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || run(&theirs, &waker))
            .expect("a thread can be started when the process begins");
        Self {
            desk,
            thread: Some(thread),
        }
    }

    /// Asks for a sync. Requests that come while one is under way are served together by the next.
    /// After a failure nothing more is done.
    pub fn sync(&self, request: SyncRequest) {
        let mut tasks = self.desk.lock();
        if tasks.has_failed {
            return;
        }
        match &mut tasks.sync {
            Some(waiting) => waiting.merge(request),
            None => tasks.sync = Some(request),
        }
        self.desk.call();
    }

    /// Asks for what the log needs at every durability level: the next segment file ahead of time, and
    /// a sync of segments that are full. To be called after appends; does nothing most of the time.
    pub fn upkeep(&self, log: &mut SegmentLog) {
        if let Some(request) = log.sync_upkeep() {
            self.sync(request);
        }
        if let Some(request) = log.prepare_request() {
            self.prepare(request);
        }
    }

    pub(crate) fn prepare(&self, request: PrepareRequest) {
        self.desk.lock().prepare = Some(request);
        self.desk.call();
    }

    /// The next thing that is done. To be called on the thread that the log lives on, until there is
    /// nothing more. An error is final and comes once: from then on the log refuses every append.
    pub fn poll(&self) -> Option<Result<LogDone, LogError>> {
        let mut tasks = self.desk.lock();
        let synced = tasks.synced.take().and_then(SyncRequest::complete);
        if let Some(through) = synced {
            return Some(Ok(LogDone::Synced { through }));
        }
        if let Some(error) = tasks.failure.take() {
            return Some(Err(error));
        }
        tasks.prepared.take().map(|result| {
            Ok(match result {
                Ok(segment) => LogDone::Prepared { segment },
                Err(error) => LogDone::NoRoom { error },
            })
        })
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.desk.lock().is_stopping = true;
        self.desk.call();
        if let Some(thread) = self.thread.take() {
            // It does not panic, and if it did there would be nothing left to do about it here.
            let _ = thread.join();
        }
    }
}

/// What the thread takes off the desk.
enum Job {
    Sync(SyncRequest),
    Prepare(PrepareRequest),
}

fn run(desk: &Desk<Tasks>, waker: &impl Fn()) {
    while let Some(job) = next_job(desk) {
        match job {
            Job::Sync(request) => {
                let result = request.run();
                let mut tasks = desk.lock();
                match result {
                    // A later sync covers an earlier one that was not polled yet.
                    Ok(()) => tasks.synced = Some(request),
                    Err(error) => {
                        // Final: what the kernel threw away it will not write when asked again.
                        tasks.has_failed = true;
                        tasks.sync = None;
                        tasks.failure = Some(error);
                    }
                }
            }
            Job::Prepare(request) => {
                let result = request.run();
                let mut tasks = desk.lock();
                match result {
                    Err(error) if !error.is_want_of_room() => {
                        tasks.has_failed = true;
                        tasks.sync = None;
                        tasks.failure = Some(error);
                    }
                    result => tasks.prepared = Some(result),
                }
            }
        }
        waker();
    }
}

/// Waits for the next thing to do. `None`: stop. A sync goes first, since clients wait for it.
fn next_job(desk: &Desk<Tasks>) -> Option<Job> {
    let mut tasks = desk.lock();
    loop {
        if tasks.is_stopping {
            return None;
        }
        if let Some(request) = tasks.sync.take() {
            return Some(Job::Sync(request));
        }
        if let Some(request) = tasks.prepare.take() {
            return Some(Job::Prepare(request));
        }
        tasks = desk.wait(tasks);
    }
}
