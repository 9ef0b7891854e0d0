//! Inputs on their way into entries.

use standin_core::entry::{
    BatchBuilder, COMMAND_HEADER_BYTES, CloseSession, Command, ENTRY_HEADER_BYTES, EntryKind,
    Index, RUN_BYTES_MAX, RUN_COMMANDS_MAX, Run,
};
use standin_core::message::encode_payload;

use crate::primary::{Input, Waiter};

impl Input<'_> {
    /// Who waits for its outcome.
    pub(crate) fn waiter(&self) -> Option<Waiter> {
        match self {
            Self::Open(waiter)
            | Self::Close(waiter, _)
            | Self::Command(waiter, _)
            | Self::Direct(waiter, _) => Some(*waiter),
            Self::Timer(_) => None,
        }
    }
}

/// How long the entry of an input is, in bytes; what is not on the hot path is estimated.
pub(crate) fn entry_bytes(input: &Input<'_>) -> usize {
    let payload = match input {
        Input::Command(_, command) => COMMAND_HEADER_BYTES + command.bytes.len(),
        Input::Direct(_, bytes) => bytes.len(),
        Input::Open(_) | Input::Close(..) | Input::Timer(_) => COMMAND_HEADER_BYTES,
    };
    ENTRY_HEADER_BYTES + payload
}

/// How many inputs, from the first on, can be one run: commands of a session whose numbers follow each other, which are short
/// and of which the machine says that they may. At least one, whatever it is.
pub(crate) fn run_length(inputs: &[Input<'_>], shares_entry: fn(&[u8]) -> bool) -> usize {
    let mut bytes = 0;
    let mut next = None;
    let follows = |input: &&Input<'_>| {
        let Input::Command(_, command) = input else {
            return false;
        };
        let follows = next.is_none_or(|next| next == (command.session, command.sequence));
        bytes += command.bytes.len();
        // The largest number there is is followed by none, and is no reason to stop the process.
        let after = command.sequence.checked_add(1);
        next = after.map(|after| (command.session, after));
        follows && after.is_some() && bytes <= RUN_BYTES_MAX
    };
    let run = inputs.iter().take(RUN_COMMANDS_MAX).take_while(follows);
    let run = &inputs[..run.count()];
    // The machine may have to read a command to answer, so it is not asked about one that stands alone.
    if run.len() <= 1 {
        return 1;
    }
    let may_share =
        |input: &&Input<'_>| matches!(input, Input::Command(_, it) if shares_entry(it.bytes));
    run.iter().take_while(may_share).count().max(1)
}

/// Encodes commands that are a run; its index.
pub(crate) fn push_run(builder: &mut BatchBuilder, run: &[Input<'_>]) -> Index {
    let mut commands = [Command::default(); RUN_COMMANDS_MAX];
    let mut count = 0;
    for input in run {
        if let Input::Command(_, command) = input {
            commands[count] = *command;
            count += 1;
        }
    }
    builder.push(EntryKind::Run, |out| Run::encode(&commands[..count], out))
}

/// Encodes one input; its index.
pub(crate) fn push_input(builder: &mut BatchBuilder, input: &Input<'_>) -> Index {
    match input {
        Input::Open(_) => builder.push(EntryKind::OpenSession, |_| {}),
        Input::Close(_, session) => {
            let close = CloseSession { session: *session };
            builder.push(EntryKind::CloseSession, |out| encode_payload(&close, out))
        }
        Input::Command(_, command) => builder.push(EntryKind::Command, |out| command.encode(out)),
        Input::Direct(_, bytes) => {
            builder.push(EntryKind::Direct, |out| out.extend_from_slice(bytes))
        }
        Input::Timer(fired) => builder.push(EntryKind::Timer, |out| encode_payload(fired, out)),
    }
}
