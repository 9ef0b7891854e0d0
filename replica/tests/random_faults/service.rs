//! The view service and what is around it.

use super::*;

impl World {
    pub(crate) fn wire_to_service(&mut self, conn: ConnId, wire: Wire) {
        self.at_service(match wire {
            Wire::ToViewService(ToViewService::Report(report)) => {
                vs::Event::Report { conn, report }
            }
            Wire::ToViewService(ToViewService::Swap(swap)) => vs::Event::Swap { conn, swap },
            Wire::ToViewService(ToViewService::Release(release)) => {
                vs::Event::Release { conn, release }
            }
            Wire::Closed => vs::Event::Closed { conn },
            other => panic!("{other:?}"),
        });
    }

    pub(crate) fn at_service(&mut self, event: vs::Event) {
        let now = self.clock();
        let Some(mut service) = self.service.take() else {
            return;
        };
        service.handle(now, event);
        while let Some(action) = service.next_action() {
            match action {
                vs::Action::Send {
                    conn,
                    answer: vs::Answer::Report(reply),
                } => {
                    self.send(conn, VIEW_SERVICE, Wire::ReportReply(Box::new(reply)));
                }
                vs::Action::Send {
                    conn,
                    answer: vs::Answer::Swap(reply),
                } => {
                    self.send(conn, VIEW_SERVICE, Wire::SwapReply(Box::new(reply)));
                }
                vs::Action::Send { answer, .. } => panic!("nobody asked: {answer:?}"),
                vs::Action::Store { state } => {
                    self.log(|| format!("view service: {:?}", state.record));
                    self.storing = Some(state);
                    let wait = Duration::from_micros(self.below(5000));
                    self.after(wait, Coming::Stored(self.lives[VIEW_SERVICE]));
                }
                vs::Action::Refuse { conn, refusal } => {
                    self.log(|| format!("view service refuses {conn}: {refusal}"));
                    self.close(conn, VIEW_SERVICE);
                }
            }
        }
        let deadline = service.deadline();
        self.service = Some(service);
        self.wake_at(VIEW_SERVICE, deadline);
    }

    pub(crate) fn wake_at(&mut self, party: usize, deadline: Option<Instant>) {
        let Some(at) = deadline.map(|at| at.max(self.now)) else {
            return;
        };
        if self.wakes[party].is_none_or(|set| at < set || set < self.now) {
            self.wakes[party] = Some(at);
            self.at(at, Coming::Wake(party, self.lives[party]));
        }
    }
}
