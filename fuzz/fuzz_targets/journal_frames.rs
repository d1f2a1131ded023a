//! Frames read back from a disk that may hold anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zizon_journal::{Salt, decode_frames, format::frame::{FrameHeader, encode_frame}};

const START: u32 = 4096;

fuzz_target!(|data: &[u8]| {
    let salt = Salt::of(&[7; 16], 1);
    for frame in decode_frames(salt, START, data) {
        let Ok(frame) = frame else { break };
        assert!(frame.payload.len() <= data.len());
    }
    // What is encoded is read back, and one changed bit is never taken for the original.
    let mut bytes = Vec::new();
    let header = FrameHeader { len: 0, seq: 1, at_ms: 0, epoch: 0, batch_index: 0 };
    encode_frame(&mut bytes, salt, START, &header, data);
    let first = decode_frames(salt, START, &bytes).next().expect("a frame").expect("a sound frame");
    assert_eq!(first.payload, data);
    let at = data.first().map_or(0, |&byte| usize::from(byte)) % bytes.len();
    bytes[at] ^= 1;
    if let Some(Ok(frame)) = decode_frames(salt, START, &bytes).next() {
        panic!("a changed frame of {} bytes passed", frame.payload.len());
    }
});
