//! All that is stored: sixteen databases of keys, their deadlines, and what is known of keys that are gone.
//!
//! Time is the logged time of the entry that is being applied, and nothing else. A key whose deadline has
//! passed counts as gone from then on, whether it has been removed or not.

use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

use crate::capture::{
    invalid, read_bytes, read_count, read_u64, write_bytes, write_count, write_u64,
};
use crate::garbage::{WEIGHT_FEW, discard};
use crate::members::{InOrder, Key, Member, Members};
use crate::text::Text;
use crate::tree::Tree;
use crate::value::Value;

/// How many databases SELECT knows.
pub const DATABASES: usize = 16;
/// Slots of the table of removals.
pub const REMOVAL_SLOTS: usize = 4096;
/// Most keys that one firing of the timer removes; the rest follows in the next entry.
pub const EXPIRED_PER_ENTRY_MAX: usize = 256;
/// Fewest keys of a database of which it is worth prefetching some: fewer are in the caches anyway.
const PREFETCHED_KEYS_MIN: usize = 1 << 14;

/// No deadline.
pub const NEVER: u64 = 0;

/// Number of a database, below [`DATABASES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatabaseId(u8);

impl DatabaseId {
    /// The database of this number.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (usize::from(number) < DATABASES).then_some(Self(number))
    }

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..16).map(Self)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    fn at(self) -> usize {
        usize::from(self.0)
    }
}

/// One key and what stands under it: one cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Record {
    key: Text,
    /// What stands under the key.
    pub value: Value,
    /// Index of the entry that last changed it.
    changed: u64,
    /// When it is gone, in milliseconds since 1970; [`NEVER`] if it stays.
    ///
    /// Invariant: the database's `deadlines` have the same.
    deadline: u64,
}

const _: () = assert!(size_of::<Record>() == 64);

impl Member for Record {
    fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }
}

impl Record {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &Text {
        &self.key
    }

    /// When it is gone, in milliseconds since 1970; [`NEVER`] if it stays.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Index of the entry that last changed it.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.changed
    }
}

/// A record that may be changed. Whoever does so says so: [`Found::mark_changed`].
#[derive(Debug)]
pub struct Found<'a> {
    record: &'a mut Record,
    changed_database: &'a mut u64,
    index: u64,
}

impl<'a> Found<'a> {
    /// What stands under the key.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.record.value
    }

    /// When the key is gone, in milliseconds since 1970; [`NEVER`] if it stays.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.record.deadline
    }

    /// What stands under the key, to be changed: then the key counts as changed by this entry, which
    /// everybody who watches it will see.
    #[must_use]
    pub fn change(self) -> &'a mut Value {
        self.record.changed = self.index;
        *self.changed_database = self.index;
        &mut self.record.value
    }

    /// What stands under the key, for whoever does not know yet whether there is anything to change. If there
    /// is, [`Found::mark_changed`] must follow.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.record.value
    }

    /// The key counts as changed by this entry, which everybody who watches it will see.
    pub fn mark_changed(&mut self) {
        self.record.changed = self.index;
        *self.changed_database = self.index;
    }
}

/// One database.
#[derive(Clone, Debug, Default)]
struct Database {
    records: Members<Record>,
    /// Each key that has a deadline, by deadline.
    deadlines: Tree<u64, Text>,
    /// Index of the entry that last changed anything in here.
    changed: u64,
}

/// What a key's deadline is to be when its value is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// None.
    Never,
    /// What it was.
    Keep,
    /// This one, in milliseconds since 1970.
    At(u64),
}

/// What is known of a watched key, as a client is told by WATCH and sends along with EXEC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Whether the key was there.
    pub is_present: bool,
    /// If it was: the entry that had last changed it. If not: the entry that was last applied.
    pub index: u64,
}

/// All databases. See the [module](self). A clone takes no time to speak of.
#[derive(Clone, Debug)]
pub struct Keyspace {
    databases: [Database; DATABASES],
    /// For each slot the newest entry that changed or removed a key of that slot which is gone now.
    removals: Arc<[u64; REMOVAL_SLOTS]>,
    /// Logged time of the entry that is being applied, in nanoseconds since 1970.
    time: u64,
    /// The same in milliseconds.
    now: u64,
    /// Its index.
    index: u64,
    /// The earliest deadline that this entry has set; [`NEVER`] if it has set none.
    soonest_set: u64,
}

impl Default for Keyspace {
    fn default() -> Self {
        Self {
            databases: Default::default(),
            removals: Arc::new([0; REMOVAL_SLOTS]),
            time: 0,
            now: 0,
            index: 0,
            soonest_set: NEVER,
        }
    }
}

fn slot(database: DatabaseId, hash: u64) -> usize {
    let mixed = hash ^ (u64::from(database.0) << 5);
    usize::try_from(mixed % REMOVAL_SLOTS as u64).expect("below the number of slots")
}

/// Nothing is copied, even if a capture holds the table, unless there is something to change.
fn note_removal(removals: &mut Arc<[u64; REMOVAL_SLOTS]>, slot: usize, index: u64) {
    if removals[slot] < index {
        Arc::make_mut(removals)[slot] = index;
    }
}

fn due_order(key: &[u8]) -> impl Fn(&Text) -> Ordering {
    move |due| due.as_bytes().cmp(key)
}

impl Keyspace {
    /// An entry with this logged time (nanoseconds since 1970) and index is about to be applied.
    pub fn begin(&mut self, time: u64, index: u64) {
        self.time = time;
        self.now = time / 1_000_000;
        self.index = index;
        self.soonest_set = NEVER;
    }

    /// Logged time of the last entry, in milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Logged time of the last entry, in nanoseconds since 1970.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.time
    }

    /// Whether any key of a database has a deadline.
    #[must_use]
    pub fn has_deadlines(&self, database: DatabaseId) -> bool {
        !self.databases[database.at()].deadlines.is_empty()
    }

    /// How many keys of a database have a deadline, among them those that are gone but not removed yet.
    #[must_use]
    pub fn deadlines_len(&self, database: DatabaseId) -> usize {
        self.databases[database.at()].deadlines.len()
    }

    /// Index of the last entry.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    fn is_gone(&self, deadline: u64) -> bool {
        deadline != NEVER && self.now > deadline
    }

    /// How many keys a database holds, among them those that are gone but not removed yet.
    #[must_use]
    pub fn len(&self, database: DatabaseId) -> usize {
        self.databases[database.at()].records.len()
    }

    /// The key's record, unless it is gone.
    #[must_use]
    pub fn get(&self, database: DatabaseId, key: Key<'_>) -> Option<&Record> {
        let record = self.databases[database.at()].records.get(key)?;
        (!self.is_gone(record.deadline)).then_some(record)
    }

    /// Whether any database is so large that [`Keyspace::prefetch`] is worth its time.
    #[must_use]
    pub fn is_prefetched(&self) -> bool {
        let mut databases = self.databases.iter();
        databases.any(|database| database.records.len() >= PREFETCHED_KEYS_MIN)
    }

    /// Brings into the caches what is looked at when keys with these hashes are sought. It has no other effect.
    pub fn prefetch(&self, database: DatabaseId, hashes: &[u64]) {
        let records = &self.databases[database.at()].records;
        if records.len() >= PREFETCHED_KEYS_MIN {
            records.prefetch(hashes);
        }
    }

    /// The nth key of a database, unless it is gone.
    #[must_use]
    pub fn nth(&self, database: DatabaseId, place: usize) -> Option<&Record> {
        let record = self.databases[database.at()].records.nth(place)?;
        (!self.is_gone(record.deadline)).then_some(record)
    }

    /// All keys of a database that are not gone, in the order of their hashes.
    pub fn iter(&self, database: DatabaseId) -> impl Iterator<Item = &Record> {
        let records = self.databases[database.at()].records.iter();
        (records.map(|(_, record)| record)).filter(|record| !self.is_gone(record.deadline))
    }

    /// One step of a walk over a database: see [`Members::scan`].
    pub fn scan<'a>(
        &'a self,
        database: DatabaseId,
        cursor: u64,
        count: usize,
        mut take: impl FnMut(&'a Record, bool) -> bool,
    ) -> u64 {
        let records = &self.databases[database.at()].records;
        records.scan(cursor, count, |record, must| {
            self.is_gone(record.deadline) || take(record, must)
        })
    }

    /// The key's record, to be changed. Removes it if it is gone.
    pub fn get_mut(&mut self, database: DatabaseId, key: Key<'_>) -> Option<Found<'_>> {
        if !self.databases[database.at()].deadlines.is_empty() {
            self.remove_if_gone(database, key);
        }
        let index = self.index;
        let home = &mut self.databases[database.at()];
        let record = home.records.get_mut(key)?;
        Some(Found {
            record,
            changed_database: &mut home.changed,
            index,
        })
    }

    /// Removes the key if its time has passed.
    pub fn remove_if_gone(&mut self, database: DatabaseId, key: Key<'_>) {
        let record = self.databases[database.at()].records.get(key);
        if record.is_some_and(|record| self.is_gone(record.deadline)) {
            self.take(database, key, Farewell::Expired);
        }
    }

    /// Puts a value under the key, whatever was there.
    pub fn put(&mut self, database: DatabaseId, key: Key<'_>, value: Value, deadline: Deadline) {
        let Some(found) = self.get_mut(database, key) else {
            return self.put_new(database, key, value, deadline);
        };
        let before = found.deadline();
        let old = std::mem::replace(found.change(), value);
        drop_value(old);
        match deadline {
            Deadline::Never if before == NEVER => {}
            Deadline::Keep => {}
            Deadline::Never => self.set_deadline(database, key, NEVER),
            Deadline::At(deadline) => self.set_deadline(database, key, deadline),
        }
    }

    /// Puts a value under a key that is not there, as [`Keyspace::get_mut`] has said before.
    pub fn put_new(
        &mut self,
        database: DatabaseId,
        key: Key<'_>,
        value: Value,
        deadline: Deadline,
    ) {
        let home = &mut self.databases[database.at()];
        home.changed = self.index;
        let record = Record {
            key: Text::new(key.bytes),
            value,
            changed: self.index,
            deadline: NEVER,
        };
        let old = home.records.insert(key, record);
        assert!(old.is_none(), "a new key was there before");
        if let Deadline::At(deadline) = deadline {
            self.set_deadline(database, key, deadline);
        }
    }

    /// Removes the key; hands back what it was, unless it is gone.
    pub fn remove(&mut self, database: DatabaseId, key: Key<'_>) -> Option<Record> {
        let record = self.take(database, key, Farewell::Removed)?;
        if self.is_gone(record.deadline) {
            drop_value(record.value);
            return None;
        }
        Some(record)
    }

    /// Removes the key and drops its value; whether it was there and not gone.
    pub fn discard(&mut self, database: DatabaseId, key: Key<'_>) -> bool {
        let removed = self.remove(database, key);
        let was_there = removed.is_some();
        if let Some(record) = removed {
            drop_value(record.value);
        }
        was_there
    }

    fn take(&mut self, database: DatabaseId, key: Key<'_>, farewell: Farewell) -> Option<Record> {
        let home = &mut self.databases[database.at()];
        // Looked for first: what is not there must not cost copies of nodes that are shared.
        home.records.get(key)?;
        let record = home.records.remove(key)?;
        if record.deadline != NEVER {
            home.deadlines.remove(record.deadline, due_order(key.bytes));
        }
        // Who watched a key while it was gone already has seen nothing change when it is removed.
        let index = match farewell {
            Farewell::Removed if !self.is_gone(record.deadline) => self.index,
            Farewell::Removed | Farewell::Expired => record.changed,
        };
        note_removal(&mut self.removals, slot(database, key.hash), index);
        Some(record)
    }

    /// Gives a key that is there a deadline, in milliseconds since 1970, or takes it away ([`NEVER`]). Does
    /// not count as a change by itself.
    pub fn set_deadline(&mut self, database: DatabaseId, key: Key<'_>, deadline: u64) {
        let home = &mut self.databases[database.at()];
        let record = home.records.get_mut(key).expect("a key that is there");
        let before = std::mem::replace(&mut record.deadline, deadline);
        if before == deadline {
            return;
        }
        let text = record.key.clone();
        if before != NEVER {
            home.deadlines.remove(before, due_order(key.bytes));
        }
        if deadline != NEVER {
            let order = due_order(key.bytes);
            home.deadlines.insert(deadline, text, order);
            if self.soonest_set == NEVER || deadline < self.soonest_set {
                self.soonest_set = deadline;
            }
        }
    }

    /// The earliest deadline that this entry has set, in milliseconds since 1970.
    #[must_use]
    pub fn soonest_set(&self) -> Option<u64> {
        (self.soonest_set != NEVER).then_some(self.soonest_set)
    }

    /// When the next key is gone, in milliseconds since 1970.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.next_due().map(|(deadline, _, _)| deadline)
    }

    fn next_due(&self) -> Option<(u64, DatabaseId, &Text)> {
        DatabaseId::all()
            .filter_map(|id| {
                let (deadline, key) = self.databases[id.at()].deadlines.first()?;
                Some((deadline, id, key))
            })
            .min()
    }

    /// Removes keys that are gone, up to [`EXPIRED_PER_ENTRY_MAX`] of them.
    pub fn expire(&mut self) {
        for _ in 0..EXPIRED_PER_ENTRY_MAX {
            let Some((deadline, database, key)) = self.next_due() else {
                return;
            };
            if !self.is_gone(deadline) {
                return;
            }
            let key = key.clone();
            let record = self.take(database, Key::new(key.as_bytes()), Farewell::Expired);
            drop_value(record.expect("a deadline is that of a key").value);
        }
    }

    /// Removes all keys of a database.
    pub fn flush(&mut self, database: DatabaseId) {
        let home = &mut self.databases[database.at()];
        if home.records.is_empty() {
            return;
        }
        let home = std::mem::replace(
            home,
            Database {
                changed: self.index,
                ..Database::default()
            },
        );
        if home.records.len() <= REMOVAL_SLOTS {
            for (hash, record) in home.records.iter() {
                note_removal(&mut self.removals, slot(database, hash), record.changed);
            }
        } else {
            // Not worth a look at each: none of them was changed after that.
            for newest in Arc::make_mut(&mut self.removals) {
                *newest = home.changed.max(*newest);
            }
        }
        discard(home);
    }

    pub(crate) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        write_u64(out, self.time)?;
        write_u64(out, self.index)?;
        let removals = (self.removals.iter().enumerate()).filter(|(_, newest)| **newest != 0);
        write_count(out, removals.clone().count())?;
        for (slot, newest) in removals {
            write_count(out, slot)?;
            write_u64(out, *newest)?;
        }
        for database in &self.databases {
            write_u64(out, database.changed)?;
            write_count(out, database.records.len())?;
            for (_, record) in database.records.iter() {
                write_bytes(out, record.key.as_bytes())?;
                write_u64(out, record.changed)?;
                write_u64(out, record.deadline)?;
                record.value.write(out)?;
            }
        }
        Ok(())
    }

    pub(crate) fn read(input: &mut dyn io::Read) -> io::Result<Self> {
        let mut keys = Self::default();
        let time = read_u64(input)?;
        let index = read_u64(input)?;
        keys.begin(time, index);
        let removals = Arc::make_mut(&mut keys.removals);
        let mut free = 0..REMOVAL_SLOTS;
        for _ in 0..read_count(input)? {
            let slot = usize::try_from(read_u64(input)?).ok();
            let slot = slot.filter(|slot| free.contains(slot));
            let slot = slot.ok_or_else(|| invalid("removals are out of order"))?;
            free.start = slot + 1;
            removals[slot] = read_index(input, index)?;
            if removals[slot] == 0 {
                return Err(invalid("it tells of a removal before the first entry"));
            }
        }
        for database in &mut keys.databases {
            database.changed = read_index(input, index)?;
            let mut records = InOrder::default();
            for _ in 0..read_count(input)? {
                let key = Text::new(&read_bytes(input)?);
                let changed = read_index(input, index)?;
                let deadline = read_u64(input)?;
                if deadline != NEVER {
                    let order = due_order(key.as_bytes());
                    database.deadlines.insert(deadline, key.clone(), order);
                }
                let record = Record {
                    key,
                    value: Value::read(input)?,
                    changed,
                    deadline,
                };
                (records.push(record)).map_err(|_| invalid("keys are out of order"))?;
            }
            database.records = records.finish();
        }
        Ok(keys)
    }

    /// What somebody who watches this key has to know.
    #[must_use]
    pub fn look(&self, database: DatabaseId, key: Key<'_>) -> Sight {
        match self.get(database, key) {
            Some(record) => Sight {
                is_present: true,
                index: record.changed,
            },
            None => Sight {
                is_present: false,
                index: self.index,
            },
        }
    }

    /// Whether nothing has happened to the key since.
    ///
    /// For a key that was absent and is, removals of others whose hash is alike may count as its own.
    #[must_use]
    pub fn is_as_seen(&self, database: DatabaseId, key: Key<'_>, sight: Sight) -> bool {
        match self.databases[database.at()].records.get(key) {
            Some(record) if !self.is_gone(record.deadline) => {
                sight.is_present && record.changed == sight.index
            }
            // It may have come and be gone again, without anybody having come upon it since.
            gone => {
                !sight.is_present
                    && gone.is_none_or(|record| record.changed <= sight.index)
                    && self.removals[slot(database, key.hash)] <= sight.index
            }
        }
    }
}

/// Reads the index of an entry, none after the last one that was applied.
fn read_index(input: &mut dyn io::Read, last: u64) -> io::Result<u64> {
    let index = read_u64(input)?;
    match index <= last {
        true => Ok(index),
        false => Err(invalid("it tells of an entry after its own")),
    }
}

/// Why a key is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    Removed,
    Expired,
}

/// Drops a value, a large one elsewhere.
pub(crate) fn drop_value(value: Value) {
    if value.weight() >= WEIGHT_FEW {
        discard(value);
    }
}
