//! Compression of many small texts.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};

thread_local! {
    /// A compressor has tables of some hundred kilobytes: making one for each query would cost more
    /// than compressing the query's profile. Only the threads that archive ever have one.
    static COMPRESSOR: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), true));
}

/// `bytes` in zlib's format.
pub(super) fn zlib(bytes: &[u8]) -> Vec<u8> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        let mut compressed = Vec::with_capacity(bytes.len() / 2 + 64);
        loop {
            let read = usize::try_from(compressor.total_in()).expect("it was in memory");
            let status = compressor
                .compress_vec(&bytes[read..], &mut compressed, FlushCompress::Finish)
                .expect("its state is that of a new one");
            if status == Status::StreamEnd {
                return compressed;
            }
            compressed.reserve(compressed.capacity());
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;
    use rand::Rng;

    use super::*;

    #[test]
    fn what_is_compressed_is_read_back() {
        let mut random = vec![0; 300_000];
        rand::rng().fill_bytes(&mut random);
        let all_alike = vec![b'a'; 1_000_000];
        // One after the other on one thread, so with one compressor.
        for bytes in [
            &b""[..],
            b"a",
            &random,
            b"after a long one",
            &all_alike,
            b"",
        ] {
            let mut read = Vec::new();
            let compressed = zlib(bytes);
            let mut decoder = ZlibDecoder::new(&compressed[..]);
            decoder.read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{} bytes", bytes.len());
        }
    }
}
