//! What a panic of the machine's leaves in the log: one line, where the usual hook would look for the names of
//! all that was called, which may take longer than a lease lasts.

use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use standin_core::poison::{fault_words, is_machine_called};

/// Panics of the machine's that get a line. A client may bring them about as often as it asks.
const LINES_MAX: u32 = 10;

/// From here on the usual hook hears of Standin's own panics only, which end the process.
pub(super) fn keep_short() {
    static KEPT_SHORT: Once = Once::new();
    KEPT_SHORT.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if is_machine_called() {
                tell(panic);
            } else {
                usual(panic);
            }
        }));
    });
}

fn tell(panic: &PanicHookInfo<'_>) {
    static LINES: AtomicU32 = AtomicU32::new(0);
    let before = LINES.fetch_add(1, Ordering::Relaxed);
    if before < LINES_MAX {
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_default();
        let words = fault_words(panic.payload_as_str().unwrap_or_default());
        log::error!("the machine panicked at {place}: {words}");
    } else if before == LINES_MAX {
        log::error!("the machine panics again and again; no more is said of it");
    }
}
