//! libFuzzer's way in.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| forebay_hs2_fuzz::check(input));
