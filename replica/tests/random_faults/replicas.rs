//! Replicas, as their host drives them, and their disks.

use super::*;

impl World {
    pub(crate) fn wire_to_node(&mut self, node: usize, conn: ConnId, wire: Wire) {
        let is_dial = self.nodes[node].dial == Some(conn);
        match wire {
            Wire::Opened if is_dial => self.at_node(node, Event::Dialled(conn)),
            Wire::Opened => self.at_node(node, Event::ViewServiceUp),
            Wire::Closed if self.nodes[node].viewservice == Some(conn) => {
                self.nodes[node].viewservice = None;
                self.after(millis(50), Coming::Redial(node, self.lives[node]));
                self.at_node(node, Event::ViewServiceDown);
            }
            Wire::Closed if is_dial => {
                self.nodes[node].dial = None;
                self.at_node(node, Event::DialClosed);
            }
            Wire::Closed => self.at_node(node, Event::Closed(conn)),
            Wire::ReportReply(reply) => self.at_node(node, Event::ReportReply(&reply)),
            Wire::SwapReply(reply) => self.at_node(node, Event::SwapReply(&reply)),
            Wire::Follow(follow) => self.at_node(node, Event::Follow(conn, &follow)),
            Wire::Resume(resume) => self.at_node(node, Event::Resume(conn, &resume)),
            Wire::Entries(nonce, view, round, commit, bytes) => {
                let bytes = bytes.as_slice();
                self.at_node(
                    node,
                    Event::Entries(
                        conn,
                        &Entries {
                            nonce,
                            view,
                            round,
                            commit,
                            bytes,
                        },
                    ),
                );
            }
            Wire::Ack(ack) => self.at_node(node, Event::Ack(conn, &ack)),
            Wire::HigherView(view) => self.at_node(node, Event::HigherView(HigherView { view })),
            Wire::Ask(ask) => self.on_ask(node, conn, ask),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn on_ask(&mut self, node: usize, conn: ConnId, ask: Ask) {
        let Ask {
            id,
            op,
            session,
            sequence,
            seen,
        } = ask;
        let bytes = match op {
            Op::Add(number) => number.to_le_bytes().to_vec(),
            Op::Open | Op::Get(_) => Vec::new(),
        };
        let (acknowledged, bytes) = (sequence.saturating_sub(1), bytes.as_slice());
        let body = match op {
            Op::Open => RequestBody::Open(OpenSession { id, seen }),
            Op::Add(_) => RequestBody::Command(CommandRequest {
                id,
                seen,
                session,
                sequence,
                acknowledged,
                bytes,
            }),
            Op::Get(consistency) => RequestBody::Query(QueryRequest {
                id,
                seen,
                consistency,
                bytes,
            }),
        };
        self.at_node(node, Event::Requests(&[Request { conn, body }]));
    }

    /// Hands in an event and carries out all that comes of it, as the host does.
    pub(crate) fn at_node(&mut self, node: usize, event: Event<'_>) {
        if self.nodes[node].replica.is_none() {
            return;
        }
        self.handle(node, event);
        self.handle(node, Event::Flush);
        let deadline = self.nodes[node]
            .replica
            .as_ref()
            .and_then(Replica::deadline);
        self.wake_at(node, deadline);
    }

    pub(crate) fn handle(&mut self, node: usize, event: Event<'_>) {
        self.hand_in(node, event);
        while let Some(follow_up) = self.nodes[node].follow_ups.pop_front() {
            self.hand_in(
                node,
                match follow_up {
                    FollowUp::Written(through) => Event::Written(through),
                    FollowUp::LogRead(read, bytes) => Event::LogRead(read, bytes),
                    FollowUp::Cut(tip) => Event::Cut(tip),
                    FollowUp::Adopted(view) => Event::Adopted(view),
                },
            );
        }
    }

    pub(crate) fn hand_in(&mut self, node: usize, event: Event<'_>) {
        let now = self.clock();
        let mut replica = self.nodes[node].replica.take().expect("it is up");
        replica.handle(now, event);
        while let Some(action) = replica.next_action() {
            self.carry_out(node, action);
        }
        let mut answers = Answers::default();
        replica.take_answers(&mut answers);
        self.nodes[node].replica = Some(replica);
        for (answer, reply) in answers.iter() {
            if answer.valid_until.is_none_or(|until| self.now < until) {
                let wire = Wire::Reply(reply.id, reply.status, reply.seen, reply.bytes.to_vec());
                self.send(answer.conn, node, wire);
            }
        }
    }

    pub(crate) fn carry_out(&mut self, node: usize, action: Action) {
        match action {
            Action::Report(report) => self.tell_service(node, ToViewService::Report(report)),
            Action::Swap(swap) => self.tell_service(node, ToViewService::Swap(swap)),
            Action::Release(release) => self.tell_service(node, ToViewService::Release(release)),
            Action::RedialViewService => {
                if let Some(conn) = self.nodes[node].viewservice.take() {
                    self.close(conn, node);
                    self.after(millis(50), Coming::Redial(node, self.lives[node]));
                }
            }
            Action::Adopt(view) => {
                assert!(view > self.nodes[node].adopted, "S7");
                self.nodes[node].adopted = view;
                self.nodes[node]
                    .follow_ups
                    .push_back(FollowUp::Adopted(view));
            }
            Action::Quarantine(why) => panic!("replica {node} is quarantined: {why}"),
            Action::Append(batch) => {
                for entry in batch.entries() {
                    let length = usize::try_from(entry.header.length).expect("small");
                    let bytes = &batch.bytes_from(entry.header.index)[..length];
                    self.nodes[node].log.push(bytes.to_vec());
                    assert_eq!(self.nodes[node].log.len() as u64, entry.header.index.0);
                }
                self.nodes[node]
                    .follow_ups
                    .push_back(FollowUp::Written(batch.last()));
            }
            Action::Sync => {
                let through = Index(self.nodes[node].log.len() as u64);
                let micros = match self.below(30) {
                    0 => 1000 + self.below(300_000),
                    _ => 100 + self.below(5000),
                };
                let cuts = self.nodes[node].cuts;
                self.after(
                    Duration::from_micros(micros),
                    Coming::Synced(node, cuts, through),
                );
            }
            Action::ReadLog(read, from, bytes_max) => {
                let mut bytes = Vec::new();
                for entry in self.nodes[node]
                    .log
                    .iter()
                    .skip(usize::try_from(from.0 - 1).expect("small"))
                {
                    if bytes.is_empty() || bytes.len() + entry.len() <= bytes_max {
                        bytes.extend_from_slice(entry);
                    }
                }
                self.nodes[node]
                    .follow_ups
                    .push_back(FollowUp::LogRead(read, bytes));
            }
            Action::Cut(after) => {
                let disk = &mut self.nodes[node];
                disk.log.truncate(usize::try_from(after.0).expect("small"));
                disk.synced = disk.log.len();
                disk.cuts += 1;
                let tip = disk.recovered().tip;
                self.nodes[node].follow_ups.push_back(FollowUp::Cut(tip));
            }
            Action::Dial(address) => {
                self.hang(node);
                let to = address.parse().expect("a number");
                self.nodes[node].dial = Some(self.connect(node, to));
            }
            Action::Hang => self.hang(node),
            Action::Follow(conn, follow) => self.send(conn, node, Wire::Follow(follow)),
            Action::Ack(conn, ack) => self.send(conn, node, Wire::Ack(ack)),
            Action::Resume(conn, resume) => self.send(conn, node, Wire::Resume(resume)),
            Action::Entries {
                conn,
                nonce,
                view,
                round,
                commit,
                payload,
            } => {
                let bytes = match payload {
                    Payload::Nothing => Vec::new(),
                    Payload::Batch(batch) => batch.bytes().to_vec(),
                    Payload::Bytes(bytes) => bytes,
                };
                self.send(conn, node, Wire::Entries(nonce, view, round, commit, bytes));
            }
            Action::HigherView(conn, view) => self.send(conn, node, Wire::HigherView(view)),
            Action::CloseFollower(conn) => {
                self.close(conn, node);
            }
            Action::Inspected(..) => unreachable!("nobody asked"),
            Action::Log(_, text) => self.log(|| format!("replica {node}: {text}")),
        }
    }

    pub(crate) fn tell_service(&mut self, node: usize, message: ToViewService) {
        if let Some(conn) = self.nodes[node].viewservice {
            self.send(conn, node, Wire::ToViewService(message));
        }
    }

    pub(crate) fn hang(&mut self, node: usize) {
        if let Some(conn) = self.nodes[node].dial.take() {
            self.close(conn, node);
        }
    }
}

impl Node {
    pub(crate) fn recovered(&self) -> Recovered {
        let mut recovered = Recovered::default();
        for bytes in &self.log {
            let entry = Entry::decode(bytes).expect("a good entry");
            if entry.header.view > recovered.tip.view {
                recovered
                    .view_starts
                    .push((entry.header.view, entry.header.index));
            }
            recovered.tip = entry.tip();
            recovered.commit = recovered.commit.max(entry.header.commit);
        }
        recovered.synced = recovered.tip.index;
        recovered
    }

    pub(crate) fn tip_at(&self, index: usize) -> LogTip {
        Entry::decode(&self.log[index]).expect("a good entry").tip()
    }
}
