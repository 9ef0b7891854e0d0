//! A replica's process whose disk failed and which could not note that: what `src/replica/last_words.rs`
//! does with sockets, this does with the simulated network.

use std::collections::VecDeque;

use standin_core::conn::ConnId;
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame};
use standin_core::message::{Message as _, Party, Refusal, TokenDead};
use standin_core::time::{Instant, earliest};
use standin_replica::{LastAction, LastWords};

use super::network::Arrival;
use super::node::{Death, VIEW_SERVICE_RETRY};
use super::stage::{Output, Stage};
use super::watched::Subject;

/// The process.
#[derive(Debug)]
pub(crate) struct Failed {
    words: LastWords,
    viewservice: usize,
    link: Option<ConnId>,
    link_retry_at: Instant,
    /// What it dies of when all is said.
    death: Option<Death>,
}

impl Failed {
    pub(crate) fn new(dead: TokenDead, viewservice: usize, death: Death) -> Self {
        Self {
            words: LastWords::new(dead),
            viewservice,
            link: None,
            link_retry_at: Instant::ZERO,
            death: Some(death),
        }
    }

    /// The loop comes round once.
    pub(crate) fn turn<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        arrivals: &mut VecDeque<(ConnId, Arrival)>,
    ) -> Result<(), Death> {
        let now = stage.read_clock().boot;
        if self.link.is_none() && now >= self.link_retry_at {
            self.link = Some(stage.dial(self.viewservice, Party::Replica));
        }
        for (conn, arrival) in arrivals.drain(..) {
            match arrival {
                Arrival::Accepted(_) => {
                    stage.outputs.push(Output::Accept(conn));
                    stage.close(conn, None);
                }
                Arrival::Ready if self.link == Some(conn) => self.words.on_up(now),
                Arrival::Frame(bytes) if self.link == Some(conn) => {
                    let is_good = match Frame::decode(&bytes, FRAME_PAYLOAD_BYTES_MAX) {
                        Ok(Some(frame)) => self.words.on_frame(&frame).is_ok(),
                        Ok(None) | Err(_) => false,
                    };
                    if !is_good {
                        stage.close(conn, Some(Refusal::Protocol));
                        self.hang_up(now);
                    }
                }
                Arrival::Closed(why) if self.link == Some(conn) => {
                    // Whom it refuses for that it knows of it.
                    if why == Some(Refusal::TokenDead) {
                        return Err(self.death());
                    }
                    self.hang_up(now);
                }
                Arrival::Ready
                | Arrival::Frame(_)
                | Arrival::Closed(_)
                | Arrival::Woken
                | Arrival::Proof(_) => {}
            }
            self.carry_out(stage, now)?;
        }
        self.words.on_deadline(now);
        self.carry_out(stage, now)
    }

    fn carry_out<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Instant,
    ) -> Result<(), Death> {
        while let Some(action) = self.words.next_action() {
            match action {
                LastAction::Tell(dead) => {
                    if let Some(conn) = self.link {
                        stage.send(conn, |out| dead.encode(out));
                    }
                }
                LastAction::Redial => {
                    if let Some(conn) = self.link {
                        stage.close(conn, None);
                        self.hang_up(now);
                    }
                }
                LastAction::End => return Err(self.death()),
            }
        }
        Ok(())
    }

    fn hang_up(&mut self, now: Instant) {
        self.words.on_down();
        self.link = None;
        self.link_retry_at = now.plus(VIEW_SERVICE_RETRY);
    }

    fn death(&mut self) -> Death {
        self.death.take().expect("it dies once")
    }

    /// When the loop must come round at the latest, on the host's boot clock.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let link = self.link.is_none().then_some(self.link_retry_at);
        earliest(self.words.deadline(), link)
    }
}
