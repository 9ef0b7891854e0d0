//! Questions that other threads ask an event loop: each gets one answer, or none in time.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use mio::Waker;

/// Asks, for any thread. [`crate::net::Net::questions`] makes one.
pub struct Asker<T> {
    questions: SyncSender<SyncSender<T>>,
    waker: Arc<Waker>,
}

impl<T> fmt::Debug for Asker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").finish_non_exhaustive()
    }
}

/// What an event loop looks at whenever it was woken.
#[derive(Debug)]
pub struct Asked<T>(Receiver<SyncSender<T>>);

/// The two ends. At most `waiting_max` questions wait at a time; `waker` wakes the loop.
pub(crate) fn questions<T>(waiting_max: usize, waker: Arc<Waker>) -> (Asker<T>, Asked<T>) {
    let (questions, asked) = sync_channel(waiting_max);
    (Asker { questions, waker }, Asked(asked))
}

impl<T> Asker<T> {
    /// The answer; `None` if none comes in time, if the loop has ended, or if too many questions wait already.
    pub fn ask(&self, patience: Duration) -> Option<T> {
        let (answer, answered) = sync_channel(1);
        self.questions.try_send(answer).ok()?;
        self.waker.wake().ok()?;
        answered.recv_timeout(patience).ok()
    }
}

impl<T> Asked<T> {
    /// Answers all that wait.
    pub fn answer(&self, with: impl Fn() -> T) {
        for answer in self.0.try_iter() {
            // Whoever asked may have lost patience.
            let _ = answer.try_send(with());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use mio::{Events, Poll, Token};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn both(waiting_max: usize) -> (Poll, Asker<u32>, Asked<u32>) {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let (asker, asked) = questions(waiting_max, waker);
        (poll, asker, asked)
    }

    #[test]
    fn a_question_wakes_the_loop_and_is_answered() {
        let (mut poll, asker, asked) = both(1);
        let answered = thread::spawn(move || asker.ask(PATIENCE));
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty());
        asked.answer(|| 7);
        assert_eq!(answered.join().unwrap(), Some(7));
    }

    #[test]
    fn without_an_answer_there_is_none() {
        let (_poll, asker, asked) = both(1);
        assert_eq!(asker.ask(Duration::ZERO), None, "nobody looks");
        assert_eq!(asker.ask(PATIENCE), None, "one waits already");
        asked.answer(|| 7);
        drop(asked);
        assert_eq!(asker.ask(PATIENCE), None, "the loop has ended");
    }
}
