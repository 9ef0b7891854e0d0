//! A queue of jobs as a replicated machine: a worker takes a job for a time, the lease; a job that is not done by then is
//! given to somebody else, and after three times it is given up.
//!
//! ```text
//! cargo run --release --example jobs -- demo
//! jobs client --viewservice 127.0.0.1:7000 command 'Add("make tea")'
//! jobs client --viewservice 127.0.0.1:7000 command Take
//! jobs client --viewservice 127.0.0.1:7000 query Counts
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use standin::{Context, Duration, Machine, RandomStream};

/// How long a worker has for a job.
const LEASE: Duration = Duration::from_secs(30);
/// How often a job is given out before it is given up.
const ATTEMPTS_MAX: u32 = 3;

#[derive(Debug, Serialize, Deserialize)]
enum Command {
    Add(String),
    Take,
    /// The job with this number is done, by the worker who holds this token.
    Done {
        job: u64,
        token: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
enum Query {
    Counts,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Reply {
    Added {
        job: u64,
    },
    Taken {
        job: u64,
        token: u64,
        what: String,
    },
    /// There is nothing to do.
    Idle,
    Done,
    /// Somebody else has the job by now, or it is done.
    TooLate,
    Counts {
        waiting: u64,
        taken: u64,
        given_up: u64,
    },
}

#[derive(Clone, Serialize, Deserialize)]
struct Job {
    what: String,
    attempts: u32,
    /// Of the worker who has it. Nobody can guess it, and each replica draws the same.
    token: Option<u64>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Jobs {
    jobs: BTreeMap<u64, Job>,
    waiting: VecDeque<u64>,
    given_up: u64,
}

impl Jobs {
    fn take(&mut self, ctx: &mut Context<'_>) -> Reply {
        let Some(id) = self.waiting.pop_front() else {
            return Reply::Idle;
        };
        let job = self.jobs.get_mut(&id).expect("what waits is there");
        let token = ctx.random();
        job.token = Some(token);
        job.attempts += 1;
        // The job's number is its timer's, too.
        ctx.set_timer(id, ctx.now().plus(LEASE));
        let what = job.what.clone();
        Reply::Taken {
            job: id,
            token,
            what,
        }
    }

    fn done(&mut self, ctx: &mut Context<'_>, id: u64, token: u64) -> Reply {
        match self.jobs.get(&id) {
            Some(job) if job.token == Some(token) => {
                self.jobs.remove(&id);
                ctx.cancel_timer(id);
                Reply::Done
            }
            _ => Reply::TooLate,
        }
    }
}

impl Machine for Jobs {
    const NAME: &'static str = "jobs";
    const VERSION: u32 = 1;
    type Command = Command;
    type Query = Query;
    type Reply = Reply;

    fn apply(&mut self, ctx: &mut Context<'_>, command: Command) -> Reply {
        match command {
            Command::Add(what) => {
                let job = ctx.index().0;
                let (attempts, token) = (0, None);
                self.jobs.insert(
                    job,
                    Job {
                        what,
                        attempts,
                        token,
                    },
                );
                self.waiting.push_back(job);
                Reply::Added { job }
            }
            Command::Take => self.take(ctx),
            Command::Done { job, token } => self.done(ctx, job, token),
        }
    }

    /// The lease of the job with this number has run out.
    fn timer(&mut self, _ctx: &mut Context<'_>, id: u64) {
        let job = self.jobs.get_mut(&id).expect("its timer goes with it");
        job.token = None;
        if job.attempts < ATTEMPTS_MAX {
            self.waiting.push_back(id);
        } else {
            self.jobs.remove(&id);
            self.given_up += 1;
        }
    }

    fn query(&self, Query::Counts: Query) -> Reply {
        let waiting = self.waiting.len() as u64;
        Reply::Counts {
            waiting,
            taken: self.jobs.len() as u64 - waiting,
            given_up: self.given_up,
        }
    }

    fn draw_command(random: &mut RandomStream, last: Option<&Reply>) -> Command {
        match (random.below(4), last) {
            // Who has been given a job mostly does it.
            (0..=2, Some(&Reply::Taken { job, token, .. })) => Command::Done { job, token },
            (0 | 1, _) => Command::Add(format!("job {}", random.below(100))),
            _ => Command::Take,
        }
    }

    fn draw_query(_random: &mut RandomStream) -> Query {
        Query::Counts
    }
}

fn main() -> ExitCode {
    standin::cli::main_with::<Jobs>()
}

#[cfg(test)]
mod tests {
    use standin::Solo;

    use super::*;

    fn take(jobs: &mut Solo<Jobs>) -> (u64, u64) {
        match jobs.command(&Command::Take) {
            Reply::Taken { job, token, .. } => (job, token),
            other => panic!("{other:?}"),
        }
    }

    fn counts(jobs: &Solo<Jobs>) -> [u64; 3] {
        match jobs.query(&Query::Counts) {
            Reply::Counts {
                waiting,
                taken,
                given_up,
            } => [waiting, taken, given_up],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_job_is_taken_and_done() {
        let mut jobs = Solo::<Jobs>::new();
        assert_eq!(jobs.command(&Command::Take), Reply::Idle);
        jobs.command(&Command::Add("tea".to_owned()));
        let (job, token) = take(&mut jobs);
        assert_eq!(counts(&jobs), [0, 1, 0]);
        let wrong = token.wrapping_add(1);
        assert_eq!(
            jobs.command(&Command::Done { job, token: wrong }),
            Reply::TooLate
        );
        assert_eq!(jobs.command(&Command::Done { job, token }), Reply::Done);
        assert_eq!(jobs.command(&Command::Done { job, token }), Reply::TooLate);
        jobs.pass(LEASE);
        assert_eq!(counts(&jobs), [0, 0, 0]);
    }

    #[test]
    fn who_is_too_slow_loses_it_and_in_the_end_it_is_given_up() {
        let mut jobs = Solo::<Jobs>::new();
        jobs.command(&Command::Add("tea".to_owned()));
        let (job, token) = take(&mut jobs);
        jobs.pass(LEASE);
        assert_eq!(counts(&jobs), [1, 0, 0]);
        assert_eq!(jobs.command(&Command::Done { job, token }), Reply::TooLate);
        for _ in 1..ATTEMPTS_MAX {
            assert_eq!(take(&mut jobs).0, job);
            jobs.pass(LEASE);
        }
        assert_eq!(counts(&jobs), [0, 0, 1]);
    }

    #[test]
    fn it_holds_under_faults() {
        standin::simulate::<Jobs>(1..=20).assert_holds();
    }
}
