//! The key-value machine under any commands: it answers each in bounded bytes, two machines answer alike, and
//! its state goes on after it was written and read. What passes for a state is one that could have been written.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use standin_core::entry::COMMAND_BYTES_MAX;
use standin_core::machine::StateMachine as _;
use standin_core::time::WallTime;
use standin_fuzz::words::{word, words};
use standin_kv::arguments::{self, Watch};
use standin_kv::keyspace::{DatabaseId, Sight};
use standin_kv::{KeyValue, Moment};
use standin_resp::Version;

fn version(input: &mut Unstructured<'_>) -> Result<Version> {
    Ok(if input.arbitrary()? {
        Version::Resp2
    } else {
        Version::Resp3
    })
}

fn database(input: &mut Unstructured<'_>) -> Result<DatabaseId> {
    let number = if input.ratio(1, 4)? {
        input.int_in_range(0..=15)?
    } else {
        0
    };
    Ok(DatabaseId::new(number).expect("below 16"))
}

fn transaction(input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    let mut watches = Vec::new();
    for _ in 0..input.int_in_range(0..=2)? {
        watches.push(Watch {
            database: database(input)?,
            key: word(input)?,
            sight: Sight {
                is_present: input.arbitrary()?,
                index: input.int_in_range(0..=40)?,
            },
        });
    }
    arguments::begin_transaction(out, version(input)?, database(input)?, &watches);
    for _ in 0..input.int_in_range(0..=4)? {
        let words = words(input)?;
        arguments::begin_queued(out, words.len());
        words
            .iter()
            .for_each(|word| arguments::put_argument(out, word));
    }
    Ok(())
}

fn command(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(match input.int_in_range(0..=9)? {
        0 => input.arbitrary()?,
        1 | 2 => {
            let mut out = Vec::new();
            transaction(input, &mut out)?;
            out
        }
        _ => arguments::command(version(input)?, database(input)?, &words(input)?),
    })
}

fn apply(
    machine: &mut KeyValue,
    moment: Moment,
    seed: u64,
    command: &[u8],
) -> (Vec<u8>, Option<WallTime>) {
    let mut reply = Vec::new();
    let mut state = seed;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state
    };
    let alarm = machine.execute(moment, &mut random, command, &mut reply);
    (reply, alarm)
}

fn state(machine: &KeyValue) -> Vec<u8> {
    let mut bytes = Vec::new();
    KeyValue::write_capture(&machine.capture(), &mut bytes).expect("memory takes all");
    bytes
}

/// Commands, with a second machine beside that is written and read again and again.
fn commands(input: &mut Unstructured<'_>) -> Result<()> {
    let mut machine = KeyValue::default();
    let mut other = KeyValue::default();
    let mut moment = Moment {
        now: WallTime(1_700_000_000_000_000_000),
        index: 0,
    };
    while !input.is_empty() {
        moment.index += 1;
        moment.now.0 += u64::from(input.arbitrary::<u16>()?) << input.int_in_range(0..=20)?;
        if input.ratio(1, 10)? {
            assert_eq!(machine.fire(moment), other.fire(moment));
        } else {
            let command = command(input)?;
            let seed = input.arbitrary()?;
            let done = apply(&mut machine, moment, seed, &command);
            assert!(done.0.len() <= COMMAND_BYTES_MAX && !done.0.is_empty());
            assert!(done == apply(&mut other, moment, seed, &command));
            let mut answer = Vec::new();
            machine.query(&command, &mut answer);
            assert!(answer.len() <= COMMAND_BYTES_MAX);
        }
        if input.ratio(1, 4)? {
            let bytes = state(&machine);
            other = KeyValue::restore(&mut bytes.as_slice()).expect("it was just written");
            assert!(state(&other) == bytes, "it reads back otherwise");
        }
    }
    assert!(state(&machine) == state(&other), "two machines differ");
    Ok(())
}

/// Any bytes as a state, a good beginning before them.
fn any_state(input: &mut Unstructured<'_>) -> Result<()> {
    let mut bytes = state(&KeyValue::default());
    let kept = input.int_in_range(0..=bytes.len())?;
    bytes.truncate(kept);
    bytes.extend_from_slice(input.bytes(input.len())?);
    if let Ok(machine) = KeyValue::restore(&mut bytes.as_slice()) {
        assert!(
            state(&machine) == bytes,
            "what passed for a state is written otherwise"
        );
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let [mode, data @ ..] = data else {
        return;
    };
    let mut input = Unstructured::new(data);
    // Input that is too short for what is drawn from it tests nothing more.
    let _ = match mode % 4 {
        0 => any_state(&mut input),
        _ => commands(&mut input),
    };
});
