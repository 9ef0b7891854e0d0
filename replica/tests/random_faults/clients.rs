//! Clients: one request at a time, repeated until it is answered.

use super::*;

impl World {
    pub(crate) fn try_again(&mut self, client: usize) {
        let told = self.told;
        let (add, choice) = (self.adds, self.below(4));
        let it = &mut self.clients[client];
        if it.is_done {
            return;
        }
        it.attempt += 1;
        let op = match it.ask {
            Some(ask) => ask.op,
            None if it.session == 0 => Op::Open,
            None if choice == 0 => Op::Get(Consistency::Confirmed),
            None if choice == 1 => Op::Get(Consistency::Lease),
            None => Op::Add(add),
        };
        if it.ask.is_none() && matches!(op, Op::Add(_)) {
            it.sequence += 1;
            self.adds += 1;
        }
        if it.ask.is_none() || !matches!(op, Op::Add(_)) {
            it.floor = told;
        }
        let ask = Ask {
            id: it.attempt,
            op,
            session: it.session,
            sequence: it.sequence,
            seen: it.seen,
        };
        it.ask = Some(ask);
        let (conn, target, attempt) = (it.conn, it.target, it.attempt);
        self.after(millis(400), Coming::Retry(client, attempt));
        let me = VIEW_SERVICE + 1 + client;
        match conn {
            Some(conn) => self.send(conn, me, Wire::Ask(ask)),
            None => self.clients[client].conn = Some(self.connect(me, target)),
        }
        if conn.is_some() && ask.id > 1 {
            // Another attempt on the same connection goes elsewhere if this one fails, too.
            self.clients[client].target = (target + 1) % REPLICAS;
        }
    }

    pub(crate) fn wire_to_client(&mut self, client: usize, conn: ConnId, wire: Wire) {
        if self.clients[client].conn != Some(conn) {
            return;
        }
        match wire {
            Wire::Opened => {
                if let Some(ask) = self.clients[client].ask {
                    self.send(conn, VIEW_SERVICE + 1 + client, Wire::Ask(ask));
                }
            }
            Wire::Closed => self.leave(client, None),
            Wire::Reply(id, status, seen, bytes) => {
                let it = &self.clients[client];
                if it.ask.is_some_and(|ask| ask.id == id) {
                    self.on_reply(client, conn, status, seen, &bytes);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Goes to another replica, a little later.
    pub(crate) fn leave(&mut self, client: usize, hint: Option<usize>) {
        if let Some(conn) = self.clients[client].conn.take() {
            self.close(conn, VIEW_SERVICE + 1 + client);
        }
        let it = &mut self.clients[client];
        it.target = hint.unwrap_or((it.target + 1) % REPLICAS);
        let attempt = it.attempt;
        let wait = millis(5 + self.below(30));
        self.after(wait, Coming::Retry(client, attempt));
    }

    pub(crate) fn on_reply(
        &mut self,
        client: usize,
        conn: ConnId,
        status: ReplyStatus,
        seen: Seen,
        bytes: &[u8],
    ) {
        let it = &mut self.clients[client];
        let ask = it.ask.expect("it asked");
        match status {
            ReplyStatus::Done => {}
            ReplyStatus::NotPrimary | ReplyStatus::OutcomeUnknown => {
                let hint = std::str::from_utf8(bytes)
                    .ok()
                    .and_then(|text| text.parse().ok());
                return self.leave(client, hint);
            }
            ReplyStatus::Overloaded => return,
            other => panic!("client {client} is answered {other:?} to {ask:?}"),
        }
        if seen.view < it.seen.view {
            return;
        }
        it.seen = it.seen.max(seen);
        it.ask = None;
        let (floor, value) = (
            it.floor,
            u64::from_le_bytes(bytes.try_into().expect("a number")),
        );
        it.attempt += 1;
        let (attempt, is_last) = (it.attempt, it.is_last);
        it.is_last |= self.healed_at.is_some();
        it.is_done = is_last;
        match ask.op {
            Op::Open => it.session = value,
            Op::Add(number) => {
                assert!(
                    value > floor,
                    "add {number} took place {value} after {floor} was told"
                );
                assert!(self.acknowledged.insert(number, value).is_none());
                let conn = &self.conns[&conn];
                let by = (conn.ends[1], conn.lives[1]);
                let first = *self.answered_by.entry(seen.view).or_insert(by);
                assert_eq!(first, by, "S13: two answer in view {}", seen.view);
                self.told = self.told.max(value);
            }
            Op::Get(_) => {
                assert!(
                    value >= floor,
                    "S12: {:?} shows {value} after {floor} was told",
                    ask.op
                );
                assert!(value <= self.adds);
                self.told = self.told.max(value);
            }
        }
        let wait = Duration::from_micros(self.below(20_000));
        self.after(wait, Coming::Retry(client, attempt));
    }
}
