//! Where large values go to be dropped: on another thread, so that nobody waits for it.
//!
//! Nothing of it can show: what is handed over is out of the state already, and all that is left to do is to
//! give its memory back.

use std::any::Any;
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};

/// Values that wait to be dropped. When there are more, they are dropped at once. Room for all is made with the first,
/// while nobody is served.
const WAITING_MAX: usize = 1 << 12;
/// With fewer parts than this a value is dropped faster than it is handed over.
pub(crate) const WEIGHT_FEW: usize = 512;

/// Drops something large, elsewhere and later if possible.
pub(crate) fn discard(value: impl Any + Send) {
    static DROPPER: OnceLock<Option<SyncSender<Box<dyn Any + Send>>>> = OnceLock::new();
    let dropper = DROPPER.get_or_init(|| {
        let (sender, receiver) = sync_channel::<Box<dyn Any + Send>>(WAITING_MAX);
        std::thread::Builder::new()
            .name("kv-dropper".to_owned())
            .spawn(move || receiver.into_iter().for_each(drop))
            .ok()
            .map(|_| sender)
    });
    if let Some(dropper) = dropper {
        // What does not fit comes back, and is dropped right here.
        drop(dropper.try_send(Box::new(value)));
    }
}
