//! Replies whose order, or whose choice, is not the machine's to share with Redis.

use standin_resp::reply::Reply;

use crate::both::{Both, Request};

/// The reply that these bytes are.
fn parse(bytes: &[u8]) -> Reply {
    let (reply, length) = Reply::parse(bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len(), "one reply and no more");
    reply
}

/// The elements of an aggregate, those of nested ones too.
fn elements(reply: Reply) -> Vec<Reply> {
    match reply {
        Reply::Array(items) | Reply::Set(items) => items.into_iter().flat_map(elements).collect(),
        Reply::Map(pairs) => pairs
            .into_iter()
            .flat_map(|(key, value)| [key, value])
            .collect(),
        other => vec![other],
    }
}

/// The elements of an aggregate, so many of which belong together, as texts.
fn groups(reply: &Reply, together: usize) -> Vec<String> {
    let elements = elements(reply.clone());
    elements
        .chunks(together)
        .map(|group| format!("{group:?}"))
        .collect()
}

fn sorted(mut groups: Vec<String>) -> Vec<String> {
    groups.sort();
    groups
}

/// What a reply begins with: its kind and its number of elements.
fn head(bytes: &[u8]) -> &[u8] {
    let end = bytes.windows(2).position(|it| it == b"\r\n").unwrap();
    &bytes[..end]
}

fn is_aggregate(bytes: &[u8]) -> bool {
    matches!(bytes[0], b'*' | b'~' | b'%') && !matches!(bytes[1], b'0' | b'-')
}

impl Both {
    /// Compares the encoding of a key; whether it is one of those that have an order.
    pub(crate) fn has_order(&mut self, key: &[u8]) -> bool {
        let request = vec![b"OBJECT".to_vec(), b"ENCODING".to_vec(), key.to_vec()];
        let (ours, theirs) = self.ask(&request);
        self.check(&request, &ours, &theirs, ours == theirs);
        !theirs.ends_with(b"hashtable\r\n")
    }

    /// Compares byte for byte, or groups of so many elements in any order.
    pub(crate) fn take_groups(&mut self, request: &Request, has_order: bool, together: usize) {
        let (ours, theirs) = self.ask(request);
        let is_same = ours == theirs
            || !has_order
                && head(&ours) == head(&theirs)
                && sorted(groups(&parse(&ours), together))
                    == sorted(groups(&parse(&theirs), together));
        self.check(request, &ours, &theirs, is_same);
    }

    /// Compares whole walks by cursor, of elements of which so many belong together.
    pub(crate) fn walk_groups(&mut self, request: &Request, has_order: bool, together: usize) {
        if has_order {
            return self.take_groups(request, true, together);
        }
        let mut next = [request.clone(), request.clone()];
        let mut found = [Vec::new(), Vec::new()];
        let mut is_done = [false, false];
        while is_done != [true, true] {
            let requests = next.clone();
            for side in 0..2 {
                if is_done[side] {
                    continue;
                }
                let bytes = match side {
                    0 => self.shop.ask_bytes(&requests[side]),
                    _ => self.redis.ask(&requests[side]),
                };
                match parse(&bytes) {
                    Reply::Array(parts) if parts.len() == 2 => {
                        found[side].extend(groups(&parts[1], together));
                        next[side][2] = parts[0].text().unwrap().to_vec();
                        is_done[side] = next[side][2] == b"0";
                    }
                    error => {
                        found[side].push(format!("{error:?}"));
                        is_done[side] = true;
                    }
                }
            }
        }
        self.note(request.clone());
        let [ours, theirs] = found.map(sorted);
        let mut once = theirs;
        once.dedup();
        let is_same = ours == once;
        self.check(
            request,
            ours.concat().as_bytes(),
            once.concat().as_bytes(),
            is_same,
        );
    }

    /// Compares what is picked at random: as many, and each out of what there is. `all` asks for all there is,
    /// `count` is what the request asks for, `have` and `want` how many elements belong together in both.
    pub(crate) fn take_random(
        &mut self,
        request: &Request,
        all: &Request,
        count: Option<i64>,
        [have, want]: [usize; 2],
    ) {
        let (ours, theirs) = self.ask(request);
        if !is_aggregate(&theirs) && (count.is_some() || theirs[0] != b'$' || theirs[1] == b'-') {
            return self.check(request, &ours, &theirs, ours == theirs);
        }
        let everything = elements(parse(&self.redis.ask(all)));
        let everything: Vec<String> = everything
            .chunks(have)
            .map(|group| format!("{:?}", &group[..want]))
            .collect();
        let picked = groups(&parse(&ours), want);
        let mut once = sorted(picked.clone());
        once.dedup();
        let repeats = count.is_some_and(|count| count < 0);
        let is_sound = picked.iter().all(|group| everything.contains(group))
            && (repeats || once.len() == picked.len())
            && (ours[0] == b'$' || head(&ours) == head(&theirs));
        self.check(request, &ours, &theirs, is_sound);
    }

    /// Compares SPOP: what each takes is gone from its own set. Then both go on with the same set.
    pub(crate) fn take_pop(&mut self, request: &Request, key: &[u8], count: Option<i64>) {
        let has_order = self.has_order(key);
        let all = vec![b"SMEMBERS".to_vec(), key.to_vec()];
        let kind = self.redis.ask(&[b"TYPE".to_vec(), key.to_vec()]);
        if kind != b"+set\r\n" {
            return self.take_groups(request, true, 1);
        }
        let before = sorted(groups(&parse(&self.redis.ask(&all)), 1));
        let takes_all = count.is_some_and(|count| count >= before.len() as i64);
        let (ours, theirs) = self.ask(request);
        if ours[0] == b'-' || takes_all {
            let (mine, other) = (groups(&parse(&ours), 1), groups(&parse(&theirs), 1));
            let is_same = ours == theirs || !has_order && sorted(mine) == sorted(other);
            return self.check(request, &ours, &theirs, is_same);
        }
        let popped = groups(&parse(&ours), 1);
        let after = parse(&self.shop.ask_bytes(&all));
        let whole = sorted([popped.clone(), groups(&after, 1)].concat());
        let is_like = match count {
            Some(_) => head(&ours) == head(&theirs),
            None => ours[0] == theirs[0] && popped.len() == 1,
        };
        self.check(request, &ours, &theirs, is_like && whole == before);
        let still_has_order = self.has_order(key);
        assert_eq!(has_order || before.len() == popped.len(), still_has_order);
        let mut again = vec![b"SADD".to_vec(), key.to_vec()];
        let members = elements(after);
        again.extend(
            members
                .iter()
                .filter_map(|it| it.text().map(<[u8]>::to_vec)),
        );
        let gone = vec![b"DEL".to_vec(), key.to_vec()];
        self.take_groups(&gone, true, 1);
        if again.len() > 2 {
            self.take_groups(&again, true, 1);
        }
    }
}
