//! Writes `seeds/`, the inputs that fuzzing begins with, from the golden files:
//! `cargo run --example seeds`, in this directory.

use std::fs;
use std::path::{Path, PathBuf};

use standin_core::frame::{FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX, Frame};
use standin_core::segment::SEGMENT_HEADER_BYTES;

fn read(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read(path).expect("a golden file")
}

fn write(target: &str, name: &str, parts: &[&[u8]]) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    fs::create_dir_all(&dir).expect("a directory");
    fs::write(dir.join(name), parts.concat()).expect("written");
}

/// The golden frames, by the names of their kinds.
fn golden_frames() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/v1/frames");
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("listed").path())
        .collect();
    paths.sort();
    let named = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy();
        (name.into_owned(), fs::read(&path).expect("readable"))
    };
    paths.into_iter().map(named).collect()
}

/// The first byte is the kind's place in the order of their numbers, as the target has it.
fn messages(frames: &[(String, Vec<u8>)]) {
    let mut numbered: Vec<(u16, &str, &[u8])> = frames
        .iter()
        .map(|(name, bytes)| (u16::from_le_bytes([bytes[4], bytes[5]]), &**name, &**bytes))
        .collect();
    numbered.sort_unstable();
    for (place, (_, name, mut bytes)) in numbered.into_iter().enumerate() {
        let place = u8::try_from(place).expect("few kinds");
        let mut number = 0;
        while !bytes.is_empty() {
            let frame = Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX);
            let frame = frame.expect("good").expect("whole");
            write(
                "messages",
                &format!("{name}-{number}"),
                &[&[place], frame.payload],
            );
            bytes = &bytes[frame.len()..];
            number += 1;
        }
    }
}

fn arguments() {
    let lines = [
        "demo",
        "viewservice --listen 127.0.0.1:7000 --data vs --lease 1s",
        "replica --name a --listen 127.0.0.1:7101 --advertise h:1 --viewservice h:1,h:2 --data a \
         --machine counter --durability disk --replace",
        "client --viewservice 127.0.0.1:7000 --timeout 250ms counter add -3",
        "client --viewservice [::1]:1 counter get",
        "status --viewservice h:1 --name a --expect backup",
        "status --viewservice h:1 --json --watch",
        "bench --help",
        "--version",
    ];
    for (number, line) in lines.iter().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        write(
            "arguments",
            &format!("{number}"),
            &[words.join("\0").as_bytes()],
        );
    }
}

/// What clients and servers say. The first byte's bits: replies, short arguments, short requests, no password.
fn resp() {
    let requests: [&[u8]; 5] = [
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n*1\r\n$4\r\nPING\r\n",
        b"PING\r\nSET k \"a \\x41\\n\" 'b\\''\n\r\n",
        b"*0\r\n*-1\r\n*1\r\n$0\r\n\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$-1\r\n",
    ];
    let replies: [&[u8]; 4] = [
        b"*3\r\n$-1\r\n*-1\r\n$3\r\nabc\r\n",
        b"%1\r\n+a\r\n~2\r\n,1.5e+300\r\n,inf\r\n",
        b"|1\r\n+ttl\r\n:3\r\n=7\r\ntxt:abc\r\n",
        b"*5\r\n_\r\n#t\r\n(123\r\n!5\r\nERR x\r\n-ERR y\r\n",
    ];
    for (number, bytes) in requests.iter().enumerate() {
        for kind in [0, 14] {
            let name = format!("requests-{number}-{kind}");
            write("resp", &name, &[&[kind], &[3; 8], bytes]);
        }
    }
    for (number, bytes) in replies.iter().enumerate() {
        write(
            "resp",
            &format!("replies-{number}"),
            &[&[1], &[3; 8], bytes],
        );
    }
}

fn main() {
    let frames = golden_frames();
    for (name, bytes) in &frames {
        // Not sealed, since they are good; cut every five bytes, then every 200.
        write("frames", name, &[&[0], &[5; 4], &[200; 4], bytes]);
    }
    let hello = &frames
        .iter()
        .find(|(name, _)| name == "Hello")
        .expect("there is one")
        .1;
    let all: Vec<&[u8]> = frames.iter().map(|(_, bytes)| &**bytes).collect();
    write("frames", "all", &[&[1; 9], hello, &all.concat()]);
    messages(&frames);

    let segment = read("tests/golden/v1/segment");
    let (header, body) = segment.split_at(SEGMENT_HEADER_BYTES);
    write("segments", "golden-header", &[&[3], &header[16..]]);
    write("segments", "golden-entries", &[&[1], &[0; 28], body]);
    let entries = &frames
        .iter()
        .find(|(name, _)| name == "Entries")
        .expect("there is one")
        .1;
    write("entries", "golden-segment", &[&[1], &[0; 28], body]);
    write(
        "entries",
        "golden-message",
        &[&[1], &[0; 28], &entries[FRAME_HEADER_BYTES + 36..]],
    );

    let snapshot = read("tests/golden/v1/snapshot");
    write("snapshot", "golden", &[&[1], &snapshot]);
    write("snapshot", "golden-header", &[&[2], &snapshot[16..192]]);
    write(
        "view_store",
        "golden",
        &[&[0], &read("viewservice/tests/golden/v1/state")[20..]],
    );
    write(
        "view_store",
        "golden-file",
        &[&[1], &read("viewservice/tests/golden/v1/state")],
    );
    write(
        "replica_meta",
        "golden",
        &[&[0], &read("tests/golden/v1/meta")[24..]],
    );
    write(
        "replica_meta",
        "golden-file",
        &[&[1], &read("tests/golden/v1/meta")],
    );

    // These draw what they do from the input: any bytes do something.
    let rising: Vec<u8> = (0..=255).collect();
    for target in [
        "segments",
        "snapshot",
        "recovery",
        "state_machine",
        "view_service",
        "client",
        "replica",
        "key_value",
    ] {
        for first in 0..2 {
            write(
                target,
                &format!("rising-{first}"),
                &[&[first], &rising, &rising],
            );
        }
    }
    arguments();
    resp();
}
