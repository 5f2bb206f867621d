//! IDX, the file format of MNIST: a big-endian header and the elements in row-major order.
//!
//! Two zero bytes, a byte for the element type, a byte for the rank, the dimensions as `u32`, the elements
//! (LeCun, Cortes, Burges, "The MNIST database of handwritten digits").

use crate::error::{Error, Result};
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

/// The contents of an IDX file of unsigned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// The dimensions, 1 to 8 of them, none zero.
    pub shape: Vec<usize>,
    /// The elements in row-major order, as many as the product of the dimensions.
    pub bytes: Vec<u8>,
}

const U8_TYPE: u8 = 0x08;
const MAX_RANK: u8 = 8;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Deflate cannot expand more: a match of 258 bytes takes two bits at least.
const DEFLATE_EXPANSION: u64 = 1032;

/// Reads an IDX file of unsigned bytes, plain or gzipped; the file's first bytes tell which.
///
/// Never allocates more than the file could fill, whatever its header claims.
///
/// # Errors
/// When the file is missing, is not a regular file, or is not exactly one intact IDX file of unsigned bytes.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Idx> {
    read_file(path.as_ref())
}

fn read_file(path: &Path) -> Result<Idx> {
    let failed = |e| Error::io(path, "an IDX file", e);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a directory" } else { "a device or pipe" };
        return Err(Error::malformed(path, None, "an IDX file", found));
    }
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let start = file.fill_buf().map_err(failed)?;
    if start.is_empty() {
        return Err(Error::malformed(path, 0, "an IDX file", "an empty file"));
    }
    if start.starts_with(&GZIP_MAGIC) {
        let limit = metadata.len().saturating_mul(DEFLATE_EXPANSION);
        Reader { path, input: MultiGzDecoder::new(file), offset: 0, limit, gzip: true }.read()
    } else {
        Reader { path, input: file, offset: 0, limit: metadata.len(), gzip: false }.read()
    }
}

/// Writes unsigned bytes as an IDX file, gzipped when the name ends in `.gz`.
///
/// # Errors
/// When the shape does not have 1 to 8 positive dimensions below `2^32` with `bytes.len()` as their product, or the
/// file cannot be written.
pub fn write_idx(path: impl AsRef<Path>, shape: &[usize], bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let product = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    if shape.is_empty() || shape.len() > usize::from(MAX_RANK) || bytes.is_empty() || product != Some(bytes.len()) {
        let found = bytes.len();
        return Err(Error::shape(format!(
            "write_idx: {shape:?}: expected 1 to 8 positive dimensions, found {found} bytes"
        )));
    }
    let mut header = vec![0, 0, U8_TYPE, shape.len() as u8];
    for &dim in shape {
        let dim =
            u32::try_from(dim).map_err(|_| Error::shape(format!("write_idx: {shape:?}: {dim} exceeds 32 bits")))?;
        header.extend(dim.to_be_bytes());
    }
    let write = || -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut gzip = GzEncoder::new(&mut file, flate2::Compression::default());
            gzip.write_all(&header)?;
            gzip.write_all(bytes)?;
            gzip.finish()?;
        } else {
            file.write_all(&header)?;
            file.write_all(bytes)?;
        }
        file.flush()
    };
    write().map_err(|e| Error::io(path, "a file to write to", e))
}

/// An IDX file while it is read.
struct Reader<'a, R> {
    path: &'a Path,
    input: R,
    /// How many unpacked bytes have been read.
    offset: u64,
    /// How many unpacked bytes the file can hold at most.
    limit: u64,
    gzip: bool,
}

impl<R: Read> Reader<'_, R> {
    fn read(mut self) -> Result<Idx> {
        let [zero0, zero1, element, rank] = self.read_array("the four bytes of an IDX magic number")?;
        if [zero0, zero1] != [0, 0] {
            let found = format!("{zero0:02x} {zero1:02x}");
            return Err(Error::malformed(self.path, 0, "00 00, as every IDX file begins", found));
        }
        if element != U8_TYPE {
            let name = match element {
                0x09 => "i8",
                0x0b => "i16",
                0x0c => "i32",
                0x0d => "f32",
                0x0e => "f64",
                _ => "no IDX type",
            };
            let found = format!("0x{element:02x} ({name})");
            return Err(Error::malformed(self.path, 2, "element type 0x08 (u8)", found));
        }
        if !(1..=MAX_RANK).contains(&rank) {
            return Err(Error::malformed(self.path, 3, "1 to 8 dimensions", rank));
        }
        let mut shape = Vec::with_capacity(usize::from(rank));
        for axis in 0..rank {
            let dim = u32::from_be_bytes(self.read_array(&format!("dimension {axis} of {rank}"))?);
            if dim == 0 {
                return Err(Error::malformed(self.path, self.offset - 4, "a positive dimension", 0));
            }
            shape.push(dim as usize);
        }
        let bytes = self.read_elements(&shape)?;
        Ok(Idx { shape, bytes })
    }

    /// The elements: exactly as many as the header claims, and nothing after them.
    fn read_elements(&mut self, shape: &[usize]) -> Result<Vec<u8>> {
        const FIRST_STEP: usize = 1 << 16;
        let start = self.offset;
        let available = self.limit.saturating_sub(start);
        let claimed = shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim as u64));
        let length = claimed.filter(|&n| n <= available).and_then(|n| usize::try_from(n).ok());
        let Some(length) = length else {
            let claimed = claimed.map_or("more than 2^64".into(), |n| n.to_string());
            let found = if self.gzip {
                format!("a gzip file that can hold {available} at most")
            } else {
                format!("{available}")
            };
            return Err(Error::malformed(self.path, start, format!("{claimed} bytes for shape {shape:?}"), found));
        };
        // A plain file's length is known, so the header's claim is true. Of a gzip file it is only possible: the buffer
        // doubles behind what has been unpacked.
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let filled = bytes.len();
            let target = if self.gzip { length.min(FIRST_STEP.max(2 * filled)) } else { length };
            bytes.try_reserve_exact(target - filled).map_err(|_| {
                Error::io(self.path, format!("{target} bytes of memory"), io::ErrorKind::OutOfMemory.into())
            })?;
            bytes.resize(target, 0);
            let read = self.fill(&mut bytes[filled..])?;
            if filled + read < target {
                let expected = format!("{length} bytes for shape {shape:?}");
                return Err(Error::malformed(self.path, start, expected, filled + read));
            }
        }
        // Reading on to the end also makes the decoder compare gzip's checksum.
        if self.fill(&mut [0])? != 0 {
            let expected = format!("the end of the file after shape {shape:?}");
            let found =
                if self.gzip { "more bytes".into() } else { format!("{} more bytes", available - length as u64) };
            return Err(Error::malformed(self.path, start + length as u64, expected, found));
        }
        Ok(bytes)
    }

    fn read_array(&mut self, what: &str) -> Result<[u8; 4]> {
        let mut array = [0; 4];
        let start = self.offset;
        match self.fill(&mut array)? {
            4 => Ok(array),
            read => Err(Error::malformed(self.path, start, what, format!("the end of the file after {read} bytes"))),
        }
    }

    /// Fills the buffer as far as the input goes; returns how far that was.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => {
                    filled += read;
                    self.offset += read as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if self.gzip => {
                    return Err(Error::malformed(self.path, self.offset, "intact gzip data", format!("a fault: {e}")));
                }
                Err(e) => return Err(Error::io(self.path, "an IDX file", e)),
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_dir;
    use std::path::PathBuf;

    fn header(element: u8, dims: &[u32]) -> Vec<u8> {
        let mut header = vec![0, 0, element, dims.len() as u8];
        header.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
        header
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn file(name: &str, bytes: &[u8]) -> PathBuf {
        let path = test_dir("idx").join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The message for a file of these bytes, without the path in front, which every message must have.
    fn message(name: &str, bytes: &[u8]) -> String {
        let path = file(name, bytes);
        let message = read_idx(&path).unwrap_err().to_string();
        message.strip_prefix(&format!("{}: ", path.display())).expect("the message names the file").to_string()
    }

    #[test]
    fn what_is_written_is_read_back_plain_and_gzipped() {
        let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
        for name in ["round-trip", "round-trip.gz"] {
            let path = test_dir("idx").join(name);
            for (shape, length) in [(vec![1], 1), (vec![2, 3, 4], 24), (vec![1, 1, 2, 1, 1, 1, 1, 100_000], 200_000)] {
                write_idx(&path, &shape, &bytes[..length]).unwrap();
                assert_eq!(read_idx(&path).unwrap(), Idx { shape, bytes: bytes[..length].to_vec() });
            }
        }
        assert!(std::fs::read(test_dir("idx").join("round-trip.gz")).unwrap().starts_with(&GZIP_MAGIC));
    }

    #[test]
    fn gzip_is_told_by_its_first_bytes_not_by_the_name() {
        let path = file("gzipped-without-gz", &gzip(&[header(8, &[2]), vec![5, 6]].concat()));
        assert_eq!(read_idx(path).unwrap().bytes, [5, 6]);
    }

    #[test]
    fn writing_refuses_a_shape_that_does_not_fit() {
        let path = test_dir("idx").join("never-written");
        for shape in [&[2, 2][..], &[], &[3, 0], &[1; 9], &[usize::MAX, 2]] {
            assert!(matches!(write_idx(&path, shape, &[0; 3]), Err(Error::Shape(_))), "{shape:?}");
        }
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_file_and_a_directory_are_errors() {
        let dir = test_dir("idx");
        let missing = read_idx(dir.join("missing")).unwrap_err();
        assert!(matches!(&missing, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound), "{missing}");
        assert!(missing.to_string().contains("missing: expected an IDX file, found: "), "{missing}");
        let directory = read_idx(&dir).unwrap_err().to_string();
        assert!(directory.ends_with(": expected an IDX file, found a directory"), "{directory}");
    }

    #[test]
    fn a_broken_header_is_an_error_that_says_where() {
        assert_eq!(message("empty", b""), "at byte 0: expected an IDX file, found an empty file");
        assert_eq!(message("zip", b"PK\x03\x04"), "at byte 0: expected 00 00, as every IDX file begins, found 50 4b");
        assert_eq!(
            message("short-magic", &[0, 0, 8]),
            "at byte 0: expected the four bytes of an IDX magic number, found the end of the file after 3 bytes"
        );
        assert_eq!(
            message("floats", &header(0x0d, &[1])),
            "at byte 2: expected element type 0x08 (u8), found 0x0d (f32)"
        );
        assert_eq!(
            message("no-type", &header(0x42, &[1])),
            "at byte 2: expected element type 0x08 (u8), found 0x42 (no IDX type)"
        );
        assert_eq!(message("rank-0", &header(8, &[])), "at byte 3: expected 1 to 8 dimensions, found 0");
        assert_eq!(message("rank-9", &header(8, &[1; 9])), "at byte 3: expected 1 to 8 dimensions, found 9");
        assert_eq!(message("zero-dim", &header(8, &[3, 0])), "at byte 8: expected a positive dimension, found 0");
        assert_eq!(
            message("short-dims", &header(8, &[3, 2])[..10]),
            "at byte 8: expected dimension 1 of 2, found the end of the file after 2 bytes"
        );
    }

    #[test]
    fn too_few_and_too_many_elements_are_errors() {
        let bytes = |count| [header(8, &[2, 3]), vec![1; count]].concat();
        assert_eq!(message("truncated", &bytes(5)), "at byte 12: expected 6 bytes for shape [2, 3], found 5");
        assert_eq!(
            message("trailing", &bytes(8)),
            "at byte 18: expected the end of the file after shape [2, 3], found 2 more bytes"
        );
        assert_eq!(message("truncated.gz", &gzip(&bytes(5))), "at byte 12: expected 6 bytes for shape [2, 3], found 5");
        assert_eq!(
            message("trailing.gz", &gzip(&bytes(8))),
            "at byte 18: expected the end of the file after shape [2, 3], found more bytes"
        );
    }

    #[test]
    fn a_header_that_claims_more_than_the_file_could_hold_is_refused_before_allocating() {
        assert_eq!(
            message("claim", &header(8, &[!0, !0])),
            "at byte 12: expected 18446744065119617025 bytes for shape [4294967295, 4294967295], found 0"
        );
        assert_eq!(
            message("overflow", &header(8, &[!0; 3])),
            "at byte 16: expected more than 2^64 bytes for shape [4294967295, 4294967295, 4294967295], found 0"
        );
        let packed = gzip(&header(8, &[!0]));
        let most = packed.len() as u64 * DEFLATE_EXPANSION - 8;
        assert_eq!(
            message("claim.gz", &packed),
            format!(
                "at byte 8: expected 4294967295 bytes for shape [4294967295], found a gzip file that can hold {most} at most"
            )
        );
    }

    #[test]
    fn corrupt_gzip_is_an_error() {
        let mut bytes: Vec<u8> = (0..4000u32).map(|i| ((i * i) >> 3) as u8).collect();
        bytes.splice(..0, header(8, &[4000]));
        let intact = gzip(&bytes);
        let checksum = intact.len() - 8;
        let mut wrong_checksum = intact.clone();
        wrong_checksum[checksum] ^= 1;
        for (name, broken) in [
            ("checksum.gz", wrong_checksum.as_slice()),
            ("cut.gz", &intact[..checksum / 2]),
            ("cut-checksum.gz", &intact[..checksum + 3]),
            ("magic-only.gz", &intact[..2]),
            ("garbage-after.gz", &[&intact, &b"garbage"[..]].concat()),
        ] {
            let message = message(name, broken);
            assert!(message.contains("expected intact gzip data, found a fault: "), "{name}: {message}");
        }
    }

    #[test]
    fn no_flipped_byte_makes_the_reader_panic() {
        let plain = [header(8, &[2, 3]), vec![1, 2, 3, 4, 5, 6]].concat();
        for intact in [plain.clone(), gzip(&plain)] {
            for at in 0..intact.len() {
                for flip in [0x01, 0x80, 0xff] {
                    let mut broken = intact.clone();
                    broken[at] ^= flip;
                    if let Ok(idx) = read_idx(file("flipped", &broken)) {
                        assert_eq!(idx.bytes.len(), idx.shape.iter().product::<usize>());
                    }
                }
            }
        }
    }
}
